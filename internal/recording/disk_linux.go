package recording

import (
	"cmp"

	"golang.org/x/sys/unix"
)

// freeOf is how many bytes the disk of a directory has for us. Blocks are counted in fragments; some network file systems name none.
func freeOf(dir string) (int64, error) {
	var at unix.Statfs_t
	if err := unix.Statfs(dir, &at); err != nil {
		return 0, err
	}
	return int64(at.Bavail) * cmp.Or(int64(at.Frsize), int64(at.Bsize)), nil //nolint:gosec,unconvert // no disk has 2^63 bytes; the types differ by machine
}
