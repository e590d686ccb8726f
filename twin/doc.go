// Package twin makes sockets that can't be told from a program's listening ones, and
// that nobody can reach: of the same family and protocol, bound to the very same
// address, but in network and mount namespaces that nobody else is in
// (network_namespaces(7)). A program that asks such a socket for its name, its domain
// or its options hears what it always heard, and who connects to it, as hupt does to
// free a task from accept(), is of the right family.
//
// A child of the same binary makes them all and ends: sockets keep their network
// namespace, and a file its mount. An ordinary user may do so in a user namespace
// (user_namespaces(7)), where the administrator allows them.
package twin
