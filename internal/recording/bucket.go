package recording

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"

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
	if a.local = dir; dir != "" {
		a.Flush = func(object string) error { return flushFile(filepath.Join(dir, filepath.FromSlash(object))) }
	}
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

// flushFile brings a file and the names that lead to it to the disk: the spool gives its copy up after that.
func flushFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	dir := filepath.Dir(name)
	return errors.Join(f.Sync(), f.Close(), syncDir(dir), syncDir(filepath.Dir(dir)))
}
