package recording

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/s3blob"
)

// Open opens the bucket: of an s3:// or file:// URL, or the directory where there is none.
func (a *Archive) Open(ctx context.Context, where, dir string) error {
	u, err := url.Parse(where)
	if err != nil {
		return errors.New("open recordings: recording.url is no URL") // it is not repeated: whoever typed a key into it would read that in a log
	}
	switch u.Scheme {
	case "":
		a.Bucket, err = openDir(dir)
	case "file":
		dir = u.Path
		a.Bucket, err = openDir(dir)
	case s3blob.Scheme:
		a.Bucket, err = openS3(ctx, u)
		dir = ""
	default:
		err = fmt.Errorf("there is no way to open %s://", u.Scheme)
	}
	if err != nil {
		return fmt.Errorf("open recordings: %w", err)
	}
	a.local = dir
	return nil
}

// Close gives the bucket back.
func (a *Archive) Close() error {
	if a.Bucket == nil {
		return nil
	}
	return a.Bucket.Close()
}

// openDir opens a directory as a bucket. Temporary files lie beside what they become, on the same disk, and there are no files of attributes.
func openDir(dir string) (*blob.Bucket, error) {
	return fileblob.OpenBucket(dir, &fileblob.Options{CreateDir: true, DirFileMode: 0o700, NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
}

// openS3 opens a bucket of an S3 server. By default the SDK sends checksums as trailers, which many servers that are not AWS refuse; every object is
// covered by a hash of ours anyhow.
func openS3(ctx context.Context, u *url.URL) (*blob.Bucket, error) {
	q := u.Query()
	for _, name := range []string{"request_checksum_calculation", "response_checksum_validation"} {
		if !q.Has(name) {
			q.Set(name, "when_required")
		}
	}
	prefix := q.Get("prefix")
	q.Del("prefix")
	at := *u
	at.RawQuery = q.Encode()
	b, err := (&s3blob.URLOpener{}).OpenBucketURL(ctx, &at)
	if err != nil || prefix == "" {
		return b, err
	}
	return blob.PrefixedBucket(b, path.Clean(prefix)+"/"), nil
}

// newPrefix begins the names of files that are being written into a local bucket. They lie beside the recordings, not in them: what a crash leaves of one
// would be taken for something that somebody had added.
const newPrefix = ".new-"

// putLocal writes a file into a local bucket so that a crash leaves it whole or absent. It is on the disk then, and so are the names that lead to it.
func putLocal(bucket, session, name string, body []byte) error {
	dir := filepath.Join(bucket, session)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(bucket, newPrefix)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return errors.Join(syncDir(dir), syncDir(bucket))
}

// abandoned is the age at which nobody writes such a file any more.
const abandoned = time.Hour

// sweepLocal removes what crashes left of files that were being written into a local bucket.
func (a *Archive) sweepLocal() error {
	if a.local == "" {
		return nil
	}
	entries, err := os.ReadDir(a.local)
	for _, entry := range entries {
		is, gone := entry.Info()
		if gone != nil || !strings.HasPrefix(entry.Name(), newPrefix) || !is.Mode().IsRegular() || time.Since(is.ModTime()) < abandoned {
			continue
		}
		err = errors.Join(err, os.Remove(filepath.Join(a.local, entry.Name())))
	}
	return err
}
