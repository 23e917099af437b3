package watch

import (
	"context"
	"fmt"
	"os/user"
	"strconv"
	"strings"
)

// dynamicID is one of those that systemd gives to users of DynamicUser=
// (systemd.exec(5)): like all of them, it is in no file of users.
const dynamicID = 61184

// An Account is what a unit runs as.
type Account struct {
	User     string // empty for root
	UID, GID int
	Groups   []int // supplementary ones
}

// AccountOf returns what systemd runs a unit as, or nil if there is no systemd,
// or no such unit. It is an error if systemd could not start the unit.
func AccountOf(ctx context.Context, unit string) (*Account, error) {
	out, err := systemctl(ctx, systemctlTime, "show", "--no-pager",
		"--property=LoadState,User,Group,SupplementaryGroups,DynamicUser", "--", unit)
	if err != nil {
		return nil, nil //nolint:nilerr // nobody else knows
	}
	values := keyValues(out)
	if values["LoadState"] != "loaded" {
		return nil, nil
	}
	account, err := accountOf(values)
	if err != nil {
		return nil, fmt.Errorf("systemd cannot start %s: %w", unit, err)
	}
	return account, nil
}

// accountOf looks up what a unit names.
func accountOf(values map[string]string) (*Account, error) {
	account := &Account{User: values["User"]}
	if account.User != "" {
		if err := account.find(values["DynamicUser"] == "yes"); err != nil {
			return nil, err
		}
	}
	if name := values["Group"]; name != "" && values["DynamicUser"] != "yes" {
		gid, err := groupID(name)
		if err != nil {
			return nil, err
		}
		account.GID = gid
	}
	for name := range strings.FieldsSeq(values["SupplementaryGroups"]) {
		gid, err := groupID(name)
		if err != nil {
			return nil, err
		}
		account.Groups = append(account.Groups, gid)
	}
	return account, nil
}

// find fills in the numbers of the user.
func (a *Account) find(dynamic bool) error {
	found, err := user.Lookup(a.User)
	if err != nil {
		found, err = user.LookupId(a.User)
	}
	switch {
	case err == nil:
	case dynamic:
		a.UID, a.GID = dynamicID, dynamicID
		return nil
	default:
		return fmt.Errorf("there is no user %.64q", a.User)
	}
	groups, err := found.GroupIds()
	if err != nil {
		return err
	}
	numbers, err := toNumbers(append(groups, found.Uid, found.Gid))
	if err != nil {
		return err
	}
	last := len(numbers) - 2
	a.Groups, a.UID, a.GID = numbers[:last:last], numbers[last], numbers[last+1]
	return nil
}

func groupID(name string) (int, error) {
	found, err := user.LookupGroup(name)
	if err != nil {
		found, err = user.LookupGroupId(name)
	}
	if err != nil {
		return 0, fmt.Errorf("there is no group %.64q", name)
	}
	return strconv.Atoi(found.Gid)
}

func toNumbers(texts []string) ([]int, error) {
	numbers := make([]int, len(texts))
	for i, text := range texts {
		var err error
		if numbers[i], err = strconv.Atoi(text); err != nil {
			return nil, err
		}
	}
	return numbers, nil
}
