package remote

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pkg/sftp"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

const (
	mostEntries = 2000    // of a folder that are shown
	mostListing = 8 << 20 // bytes of a target's answer when a folder is listed (rule W5)
	mostTasks   = 4       // files and folders of one session at a time
	sftpWait    = 30 * time.Second
)

var (
	errNotLive  = fault.New(fault.Conflict, "the session is not open on this node; open the terminal first")
	errBusy     = fault.New(fault.Limited, "there are as many transfers under way as one session may have; wait for one to end")
	errNoFile   = fault.New(fault.NotFound, "there is no such file or folder on the target")
	errNoRight  = fault.New(fault.Denied, "the target does not allow that")
	errExists   = fault.New(fault.Conflict, "there is a file of that name already")
	errNoPath   = fault.New(fault.Invalid, "name a path on the target")
	errNotPlain = fault.New(fault.Conflict, "that is not a file")
	errTarget   = fault.New(fault.Conflict, "the target could not do that")
	errMuch     = errors.New("the target's answer is longer than a listing may be")
)

// wireEntry is something in a folder.
type wireEntry struct {
	Name     string    `json:"name"`
	Kind     string    `json:"kind"` // file, folder, link or other
	Size     int64     `json:"size"` // bytes, of a file
	Modified time.Time `json:"modified"`
}

// wireFolder is a folder of the target.
type wireFolder struct {
	Path    string      `json:"path"`   // absolute
	Parent  string      `json:"parent"` // empty at the root
	Entries []wireEntry `json:"entries"`
	More    bool        `json:"more"` // there is more than is listed
}

// list lists a folder of the target: the home folder where none is named.
func (p *Pages) list(w http.ResponseWriter, r *http.Request, x remote.Session) error {
	return p.withFiles(r, x, mostListing, func(ctx context.Context, files *sftp.Client) error {
		ctx, cancel := context.WithTimeout(ctx, sftpWait)
		defer cancel()
		at, err := files.RealPath(cmp.Or(r.URL.Query().Get("path"), "."))
		if err != nil {
			return err
		}
		found, err := files.ReadDirContext(ctx, at)
		if err != nil {
			return err
		}
		return api.WriteJSON(w, http.StatusOK, folderOf(at, found))
	})
}

func folderOf(at string, found []os.FileInfo) wireFolder {
	f := wireFolder{Path: at, Entries: []wireEntry{}, More: len(found) > mostEntries}
	if at != "/" {
		f.Parent = path.Dir(at)
	}
	slices.SortFunc(found, func(a, b os.FileInfo) int {
		if a.IsDir() != b.IsDir() {
			return map[bool]int{true: -1, false: 1}[a.IsDir()]
		}
		return cmp.Compare(strings.ToLower(a.Name()), strings.ToLower(b.Name()))
	})
	for _, one := range found[:min(len(found), mostEntries)] {
		f.Entries = append(f.Entries, wireEntry{Name: one.Name(), Kind: kindOf(one.Mode()), Size: one.Size(), Modified: one.ModTime().UTC()})
	}
	return f
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "file"
	case mode.IsDir():
		return "folder"
	case mode&fs.ModeSymlink != 0:
		return "link"
	}
	return "other"
}

// download gives a file of the target. Whatever is in it, a browser keeps it and runs none of it (rule W4).
func (p *Pages) download(w http.ResponseWriter, r *http.Request, x remote.Session) error {
	name := r.URL.Query().Get("path")
	if name == "" {
		return errNoPath
	}
	return p.withFiles(r, x, 0, func(_ context.Context, files *sftp.Client) error {
		is, err := files.Stat(name)
		if err != nil {
			return err
		}
		if !is.Mode().IsRegular() {
			return errNotPlain
		}
		f, err := files.Open(name)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // it was read to its end, or not at all
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", attachment(path.Base(name)))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "sandbox; default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		if is.Size() > 0 { // files of /proc say 0 and have something to read
			h.Set("Content-Length", strconv.FormatInt(is.Size(), 10))
		}
		w.WriteHeader(http.StatusOK)
		sent, err := f.WriteTo(&patient{to: w, control: http.NewResponseController(w)})
		if err == nil && is.Size() > 0 && sent != is.Size() {
			err = errTarget // it changed meanwhile
		}
		return err
	})
}

// attachment names the file that a browser keeps. A name that cannot be written there is left out.
func attachment(name string) string {
	clean := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == '/' || c == '\\' {
			return '_'
		}
		return c
	}, name)
	return cmp.Or(mime.FormatMediaType("attachment", map[string]string{"filename": clean}), "attachment")
}

// upload writes a file on the target. One that exists is kept unless it is to be replaced.
func (p *Pages) upload(w http.ResponseWriter, r *http.Request, x remote.Session) error {
	q := r.URL.Query()
	name, how := q.Get("path"), os.O_WRONLY|os.O_CREATE|os.O_EXCL
	if name == "" || strings.HasSuffix(name, "/") {
		return errNoPath
	}
	if q.Get("replace") == "true" {
		how = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	return p.withFiles(r, x, 0, func(_ context.Context, files *sftp.Client) error {
		if _, err := files.Lstat(name); err == nil && how&os.O_EXCL != 0 {
			return errExists
		}
		f, err := files.OpenFile(name, how)
		if err != nil {
			return err
		}
		_, err = f.ReadFrom(&patient{from: r.Body, control: http.NewResponseController(w)})
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
}

// withFiles opens the target's files for one task, on a channel of its own: what it may read of the target's answers is bounded for a task that keeps
// them, and a task that hangs holds up no other. most is that bound; 0 is none.
func (p *Pages) withFiles(r *http.Request, x remote.Session, most int64, do func(context.Context, *sftp.Client) error) error {
	if !x.Terms.Gives(access.Files) {
		return remote.ErrFeature
	}
	d, here := p.desks.find(x.ID)
	if !here {
		return errNotLive
	}
	select {
	case d.tasks <- struct{}{}:
		defer func() { <-d.tasks }()
	default:
		return errBusy
	}
	ch, err := d.live.Files(r.Context())
	if err != nil {
		return err
	}
	defer ch.Close()
	files, err := sftp.NewClientPipe(bounded(ch, most), ch)
	if err != nil {
		return errTarget
	}
	defer files.Close() //nolint:errcheck // the channel is closed with it
	return explained(do(r.Context(), files))
}

// explained makes a fault of what a target says.
func explained(err error) error {
	var said *sftp.StatusError
	var known *fault.Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return errNoFile
	case errors.Is(err, fs.ErrPermission):
		return errNoRight
	case errors.Is(err, fs.ErrExist):
		return errExists
	case errors.As(err, &said), errors.Is(err, sftp.ErrSSHFxConnectionLost), errors.Is(err, errMuch), errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errTarget
	}
	return fault.Wrap(fault.Conflict, errTarget.Text, err)
}

// bounded reads no more than so much.
func bounded(from io.Reader, most int64) io.Reader {
	if most == 0 {
		return from
	}
	return &budget{from, most}
}

type budget struct {
	from io.Reader
	left int64
}

// Read implements io.Reader.
func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errMuch
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// patient carries a body of any length, as long as it does not pause for too long.
type patient struct {
	from    io.Reader
	to      io.Writer
	control *http.ResponseController
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(readRests)) // where a connection knows none, it waits
	return p.from.Read(b)
}

// Write implements io.Writer.
func (p *patient) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(readRests))
	return p.to.Write(b)
}
