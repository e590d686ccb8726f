// Package privilege makes of a process that was started with many rights one that
// has few: another user's, with the capabilities that were asked for and no others.
package privilege

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
)

// User is who a process is to be: what login programs read of the databases of users
// and groups.
type User struct {
	UID, GID uint32
	Groups   []uint32 // supplementary ones, with GID, as initgroups(3) makes them
	Name     string   // empty: the uid has no entry
	Home     string
	Shell    string // empty: not known, or one that lets nobody in
}

// maxID is the last id that is one: what is beyond means "no change" to the kernel.
const maxID = 1<<32 - 2

// Lookup finds who NAME, UID, NAME:GROUP or UID:GID is. What consists of digits is an
// id, and needs no entry; but a uid without one does not tell its group, so that
// must be named then.
func Lookup(text string) (User, error) {
	who, group, withGroup := strings.Cut(text, ":")
	if who == "" || withGroup && group == "" {
		return User{}, fmt.Errorf("%q is not NAME, UID, NAME:GROUP or UID:GID", text)
	}
	u, err := lookupUser(who)
	if err != nil {
		return User{}, err
	}
	switch {
	case withGroup:
		before := u.GID
		if u.GID, err = lookupGroup(group); err != nil {
			return User{}, err
		}
		// The group of the entry is not one of those that it is a member of.
		if u.Name != "" && u.GID != before {
			u.Groups = slices.DeleteFunc(u.Groups, func(g uint32) bool { return g == before })
		}
	case u.Name == "":
		return User{}, fmt.Errorf("uid %s has no entry, which would tell its group: name that, too, as %s:GID", who, who)
	}
	u.Groups = slices.DeleteFunc(u.Groups, func(g uint32) bool { return g == u.GID })
	u.Groups = append([]uint32{u.GID}, u.Groups...)
	return u, nil
}

func lookupUser(who string) (User, error) {
	uid, err := parseID(who)
	find := user.LookupId
	switch {
	case errors.Is(err, strconv.ErrRange):
		return User{}, fmt.Errorf("there is no uid %s", who)
	case err != nil:
		find = user.Lookup
	}
	entry, lookupErr := find(who)
	var unknownID user.UnknownUserIdError
	var unknown user.UnknownUserError
	switch {
	case errors.As(lookupErr, &unknownID):
		return User{UID: uid}, nil
	case errors.As(lookupErr, &unknown):
		return User{}, fmt.Errorf("there is no user %q", who)
	case lookupErr != nil:
		return User{}, fmt.Errorf("look up user %q: %w", who, lookupErr)
	}
	u := User{Name: entry.Username, Home: entry.HomeDir, Shell: shellOf(entry.Username)}
	if u.UID, err = parseID(entry.Uid); err == nil {
		u.GID, err = parseID(entry.Gid)
	}
	if err != nil {
		return User{}, fmt.Errorf("look up user %q: %w", who, err)
	}
	ids, err := entry.GroupIds()
	if err != nil {
		return User{}, fmt.Errorf("look up the groups of user %q: %w", who, err)
	}
	for _, id := range ids {
		gid, err := parseID(id)
		if err != nil {
			return User{}, fmt.Errorf("look up the groups of user %q: %w", who, err)
		}
		u.Groups = append(u.Groups, gid)
	}
	return u, nil
}

func lookupGroup(name string) (uint32, error) {
	gid, err := parseID(name)
	if err == nil {
		return gid, nil
	}
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("there is no gid %s", name)
	}
	entry, err := user.LookupGroup(name)
	var unknown user.UnknownGroupError
	switch {
	case errors.As(err, &unknown):
		return 0, fmt.Errorf("there is no group %q", name)
	case err != nil:
		return 0, fmt.Errorf("look up group %q: %w", name, err)
	}
	return parseID(entry.Gid)
}

func parseID(text string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err == nil && id > maxID {
		err = strconv.ErrRange
	}
	return uint32(id), err
}

// shellOf is the last field of a user's line in /etc/passwd (passwd(5)), which
// os/user does not tell. As with systemd's User=, one that lets nobody in is none.
func shellOf(name string) string {
	f, err := os.Open("/etc/passwd")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(io.LimitReader(f, 16<<20)); lines.Scan(); {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) == 7 && fields[0] == name {
			shell := fields[6]
			if strings.HasSuffix(shell, "/nologin") || strings.HasSuffix(shell, "/false") {
				return ""
			}
			return shell
		}
	}
	return ""
}

// Environ is an environment with this user's HOME, USER, LOGNAME and SHELL in place
// of somebody else's; the others stay. Who has no entry is at home in /, as in
// containers.
func (u User) Environ(env []string) []string {
	own := map[string]string{"HOME": u.Home, "USER": u.Name, "LOGNAME": u.Name, "SHELL": u.Shell}
	if u.Home == "" {
		own["HOME"] = "/"
	}
	out := slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		_, ours := own[name]
		return ours
	})
	for _, name := range []string{"HOME", "USER", "LOGNAME", "SHELL"} {
		if own[name] != "" {
			out = append(out, name+"="+own[name])
		}
	}
	return out
}

// String names the user for people.
func (u User) String() string {
	if u.Name == "" {
		return fmt.Sprintf("uid %d", u.UID)
	}
	return fmt.Sprintf("%s (uid %d)", u.Name, u.UID)
}
