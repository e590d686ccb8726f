// Noptrace runs a command where ptrace gives EPERM, as some containers' seccomp
// profiles make it.
package main

import (
	"log"
	"os"
	"syscall"

	seccomp "github.com/elastic/go-seccomp-bpf"
)

func main() {
	filter := seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionAllow,
			Syscalls:      []seccomp.SyscallGroup{{Action: seccomp.ActionErrno, Names: []string{"ptrace"}}},
		},
	}
	if err := seccomp.LoadFilter(filter); err != nil {
		log.Fatal(err)
	}
	log.Fatal(syscall.Exec(os.Args[1], os.Args[1:], os.Environ()))
}
