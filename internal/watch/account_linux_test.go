package watch

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAccountOfAUnit(t *testing.T) {
	for _, tt := range []struct {
		name string
		text string
		want *Account
		err  string
	}{
		{name: "root", text: "User=", want: &Account{}},
		{name: "user", text: "User=daemon", want: &Account{User: "daemon", UID: 1, GID: 1, Groups: []int{1}}},
		{name: "user by number", text: "User=1", want: &Account{User: "1", UID: 1, GID: 1, Groups: []int{1}}},
		{
			name: "groups", text: "User=daemon\nGroup=sys\nSupplementaryGroups=adm 5",
			want: &Account{User: "daemon", UID: 1, GID: 3, Groups: []int{1, 4, 5}},
		},
		{
			name: "dynamic user", text: "User=nobody-of-that-name\nGroup=nobody-of-that-name\nDynamicUser=yes",
			want: &Account{User: "nobody-of-that-name", UID: dynamicID, GID: dynamicID},
		},
		{
			name: "dynamic user that is static", text: "User=daemon\nGroup=daemon\nDynamicUser=yes",
			want: &Account{User: "daemon", UID: 1, GID: 1, Groups: []int{1}},
		},
		{
			name: "no such user", text: "User=nobody-of-that-name",
			err: `systemd cannot start x.service: there is no user "nobody-of-that-name"`,
		},
		{
			name: "no such group", text: "User=daemon\nSupplementaryGroups=nobody-of-that-name",
			err: `systemd cannot start x.service: there is no group "nobody-of-that-name"`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			newSystemd(t).set("x.service", "LoadState=loaded\n"+tt.text+"\n")
			got, err := AccountOf(t.Context(), "x.service")
			if tt.err != "" {
				require.EqualError(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestUnitThatIsNotThereHasNoAccount(t *testing.T) {
	s := newSystemd(t)
	s.set("x.service", "LoadState=not-found\nUser=\n")
	account, err := AccountOf(t.Context(), "x.service")
	require.NoError(t, err)
	require.Nil(t, account)

	s.set("broken", "")
	account, err = AccountOf(t.Context(), "x.service")
	require.NoError(t, err)
	require.Nil(t, account, "nobody else knows")
}
