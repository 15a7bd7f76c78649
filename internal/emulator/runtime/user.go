package runtime

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// An identity is what a user specification such as "www:staff" means in an image.
type identity struct {
	uid, gid uint32
	groups   []uint32 // all groups: gid, then those of /etc/group
	home     string   // "/" if /etc/passwd does not say
}

// resolveUser finds the identity for "", "name", "uid", "name:group", "uid:gid" and mixtures.
// A user without a group gets the groups that /etc/passwd and /etc/group say, as with Docker. A
// number need not be in the files, a name must. The readers may be nil: no such file.
func resolveUser(spec string, passwd, group io.Reader) (identity, error) {
	user, groupName, withGroup := strings.Cut(spec, ":")
	user = orDefault(user, "0")
	id := identity{home: "/"}
	entry := findEntry(records(passwd, 6), user)
	number, isNumber := parseID(user)
	switch {
	case entry != nil:
		var okUID, okGID bool
		id.uid, okUID = parseID(entry[2])
		id.gid, okGID = parseID(entry[3])
		if !okUID || !okGID {
			return identity{}, fmt.Errorf("user %q: /etc/passwd of the image gives no valid IDs: %q", user, strings.Join(entry, ":"))
		}
		id.home = orDefault(entry[5], "/")
	case isNumber:
		id.uid = number
	case passwd == nil:
		return identity{}, fmt.Errorf("user %q is not a number and the image has no /etc/passwd", user)
	default:
		return identity{}, fmt.Errorf("user %q is not in /etc/passwd of the image", user)
	}
	groups := records(group, 3)
	if withGroup {
		if err := id.setGroup(groupName, groups, group != nil); err != nil {
			return identity{}, err
		}
	}
	id.groups = []uint32{id.gid}
	if entry != nil && !withGroup {
		id.addGroups(entry[0], groups)
	}
	return id, nil
}

func (id *identity) setGroup(name string, groups [][]string, haveFile bool) error {
	if entry := findEntry(groups, name); entry != nil {
		if gid, ok := parseID(entry[2]); ok {
			id.gid = gid
			return nil
		}
		return fmt.Errorf("group %q: /etc/group of the image gives no valid ID: %q", name, strings.Join(entry, ":"))
	}
	gid, ok := parseID(name)
	switch {
	case ok:
		id.gid = gid
		return nil
	case !haveFile:
		return fmt.Errorf("group %q is not a number and the image has no /etc/group", name)
	}
	return fmt.Errorf("group %q is not in /etc/group of the image", name)
}

// addGroups adds the groups that have the user as a member.
func (id *identity) addGroups(user string, groups [][]string) {
	for _, g := range groups {
		if len(g) < 4 || !slices.Contains(strings.Split(g[3], ","), user) {
			continue
		}
		if gid, ok := parseID(g[2]); ok {
			id.groups = append(id.groups, gid)
		}
	}
}

// findEntry finds a record by its name, else by its ID.
func findEntry(entries [][]string, nameOrID string) []string {
	for _, field := range []int{0, 2} {
		for _, e := range entries {
			if e[field] == nameOrID {
				return e
			}
		}
	}
	return nil
}

// records splits the lines that have enough fields; others are passed over, as the C library does.
func records(r io.Reader, fields int) [][]string {
	if r == nil {
		return nil
	}
	var all [][]string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if f := strings.Split(strings.TrimSpace(lines.Text()), ":"); len(f) >= fields {
			all = append(all, f)
		}
	}
	return all
}

// parseID parses a user or group ID. The kernel's are 32 bits; the highest means "no change".
func parseID(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n != math.MaxUint32
}
