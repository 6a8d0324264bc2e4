package sshkey_test

import (
	"fmt"

	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

func ExampleParse() {
	k, err := sshkey.Parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB ana@laptop\n")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(k.Type(), k.Comment())
	fmt.Println(k.SSH())
	fmt.Print(k.PEM())

	_, err = sshkey.Parse("no-pty " + k.SSH())
	fmt.Println(fault.Text(err))
	// Output:
	// ssh-ed25519 ana@laptop
	// ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB
	// -----BEGIN PUBLIC KEY-----
	// MCowBQYDK2VwAyEAAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=
	// -----END PUBLIC KEY-----
	// authorized_keys options are not accepted
}
