//go:build !linux

package recording

import "errors"

// The other systems that Gatehouse is built for are for trying it out: there a disk fills.

func freeOf(string) (int64, error) { return 0, errors.ErrUnsupported }
