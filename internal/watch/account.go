package watch

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// dynamicID is an ID that systemd gives to users of DynamicUser= (systemd.exec(5)):
// these IDs are not in /etc/passwd.
const dynamicID = 61184

// An Account is the user and groups of a unit.
type Account struct {
	User     string // empty for root
	UID, GID int
	Groups   []int // supplementary ones
}

// AccountOf returns the account of a unit, or nil if there is no systemd or no such
// unit. It returns an error if systemd could not start the unit.
func AccountOf(ctx context.Context, unit string) (*Account, error) {
	out, err := systemctl(ctx, systemctlTime, "show", "--no-pager",
		"--property=LoadState,User,Group,SupplementaryGroups,DynamicUser", "--", unit)
	if err != nil {
		return nil, nil //nolint:nilerr // without systemd there is no answer
	}
	values := keyValues(out)
	if values["LoadState"] != "loaded" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, systemctlTime) // a directory service may hang
	defer cancel()
	account, err := accountOf(ctx, values)
	if err != nil {
		return nil, fmt.Errorf("systemd cannot start %s: %w", unit, err)
	}
	return account, nil
}

// accountOf looks up the user and groups of a unit.
func accountOf(ctx context.Context, values map[string]string) (*Account, error) {
	account := &Account{User: values["User"]}
	dynamic := values["DynamicUser"] == "yes"
	if account.User != "" {
		if err := account.find(ctx, dynamic); err != nil {
			return nil, err
		}
	}
	if name := values["Group"]; name != "" && !dynamic {
		gid, err := groupID(ctx, name)
		if err != nil {
			return nil, err
		}
		account.GID = gid
	}
	for name := range strings.FieldsSeq(values["SupplementaryGroups"]) {
		gid, err := groupID(ctx, name)
		if err != nil {
			return nil, err
		}
		account.Groups = append(account.Groups, gid)
	}
	return account, nil
}

// find looks up the IDs of the user. It asks the program id: a static Go program only
// reads files and cannot ask a directory service.
func (a *Account) find(ctx context.Context, dynamic bool) error {
	uid := numbers(ctx, "id", "-u", "--", a.User)
	gids := numbers(ctx, "id", "-G", "--", a.User) // its own comes first
	switch {
	case len(uid) == 1 && len(gids) > 0:
		a.UID, a.GID, a.Groups = uid[0], gids[0], gids
	case dynamic:
		a.UID, a.GID = dynamicID, dynamicID
	default:
		return fmt.Errorf("there is no user %.64q", a.User)
	}
	return nil
}

func groupID(ctx context.Context, name string) (int, error) {
	out, _ := exec.CommandContext(ctx, "getent", "--", "group", name).Output() //nolint:errcheck // it prints nothing then
	fields := strings.Split(string(out), ":")                                  // group(5)
	if len(fields) > 2 {
		return strconv.Atoi(fields[2])
	}
	return 0, fmt.Errorf("there is no group %.64q", name)
}

// numbers returns the numbers that a program prints, or nil if it fails.
func numbers(ctx context.Context, name string, args ...string) []int {
	out, err := exec.CommandContext(ctx, name, args...).Output() //nolint:gosec // there is no shell in between
	if err != nil {
		return nil
	}
	var all []int
	for text := range strings.FieldsSeq(string(out)) {
		number, err := strconv.Atoi(text)
		if err != nil {
			return nil
		}
		all = append(all, number)
	}
	return all
}
