package policy_test

import (
	"fmt"

	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
)

func ExampleBasic_Blocks() {
	b := policy.Basic{Block: true, Paths: []string{"/rest/api/*"}, Users: []string{"robot-*"}}
	fmt.Println(b.Blocks("/rest/api/latest/users", "dana"), b.Blocks("/rest/tsv/latest/status", "Robot-7"), b.Blocks("/rest/tsv/latest/status", "dana"))
	// Output: false false true
}
