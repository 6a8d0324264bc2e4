package secret_test

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/secret"
)

func ExampleHasher() {
	h := secret.NewHasher(2, 5*time.Second)
	stored, err := h.Hash(context.Background(), secret.New("correct horse"))
	if err != nil {
		fmt.Println(err)
		return
	}
	ok, rehash, err := h.Check(context.Background(), stored, secret.New("correct horse"))
	fmt.Println(ok, rehash, err)
	// Output: true false <nil>
}

func ExampleSealer() {
	master := secret.NewMasterKey()
	wrapped, _ := secret.NewKeyset(master) // lies in the database, beside master.ID()
	sealer, _ := secret.OpenKeyset(master, wrapped)

	sealed, _ := sealer.Seal([]byte("whsec_..."), "webhooks/secret/17")
	plain, err := sealer.Open(sealed, "webhooks/secret/17")
	fmt.Printf("%s %v\n", plain, err)
	_, err = sealer.Open(sealed, "webhooks/secret/18")
	fmt.Println(err)
	// Output:
	// whsec_... <nil>
	// sealed value does not open here
}

func ExampleString() {
	password := secret.New("hunter2")
	fmt.Printf("%v %q %#v\n", password, password, password)
	// Output: [secret] [secret] [secret]
}
