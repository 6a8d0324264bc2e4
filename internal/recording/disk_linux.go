package recording

import "golang.org/x/sys/unix"

// freeOf is how many bytes the disk of a directory has for us.
func freeOf(dir string) (int64, error) {
	var at unix.Statfs_t
	if err := unix.Statfs(dir, &at); err != nil {
		return 0, err
	}
	return int64(at.Bavail) * at.Bsize, nil //nolint:gosec // no disk has 2^63 bytes
}
