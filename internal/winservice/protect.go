//go:build windows

package winservice

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"
)

// rights are the access rights of the settings directory, in SDDL: administrators own it and have
// full access, as does the system. The account of the service may read. Nothing is inherited: in
// ProgramData anyone may create files.
const rights = "O:BAD:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;GR;;;LS)"

// Protect creates the directory of a settings file. If it exists, it and the file must belong to
// the administrators, the system or the current user.
func Protect(file string) error {
	dir := filepath.Dir(file)
	err := makeDirectory(dir)
	if !errors.Is(err, windows.ERROR_ALREADY_EXISTS) {
		return err
	}
	for _, name := range []string{dir, file} {
		if err := checkOwner(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func makeDirectory(dir string) error {
	descriptor, err := windows.SecurityDescriptorFromString(rights)
	if err != nil {
		return err
	}
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return err
	}
	attributes := windows.SecurityAttributes{SecurityDescriptor: descriptor}
	attributes.Length = uint32(unsafe.Sizeof(attributes))
	if err := windows.CreateDirectory(path, &attributes); err != nil {
		return fmt.Errorf("creating directory %s failed: %w", dir, err)
	}
	return nil
}

// checkOwner refuses a file whose owner is not trusted.
func checkOwner(name string) error {
	descriptor, err := windows.GetNamedSecurityInfo(name, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("reading the owner of %s failed: %w", name, err)
	}
	owner, _, err := descriptor.Owner()
	if err != nil {
		return fmt.Errorf("reading the owner of %s failed: %w", name, err)
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return fmt.Errorf("reading the current user failed: %w", err)
	}
	if owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) || owner.IsWellKnown(windows.WinLocalSystemSid) || owner.Equals(user.User.Sid) {
		return nil
	}
	return fmt.Errorf("%s belongs to %s, who could change what the service does: remove it, and install again", name, nameOf(owner))
}

// nameOf returns the name of an account, or its SID if it has none.
func nameOf(sid *windows.SID) string {
	name, domain, _, err := sid.LookupAccount("")
	if err != nil {
		return sid.String()
	}
	return domain + `\` + name
}
