package load

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// Transfer orders that one file's worth of bytes be carried over an SSH connection of its own.
type Transfer struct {
	Door Door   `json:"door"`
	What string `json:"what"` // one of the constants below
	File string `json:"file"` // at the target, of Size bytes
	Size int64  `json:"size"`
	Via  string `json:"via"` // address that forwards lead to: a bare.ServeBytes
}

// What is carried.
const (
	SFTPGet     = "sftp get"
	SFTPPut     = "sftp put"
	ForwardGet  = "forward, from the target"
	ForwardPut  = "forward, to the target"
	CommandText = "output of a command"
	ShellText   = "output in a terminal"
)

// Transferred is what came of Transfer. The time begins when the connection is there.
type Transferred struct {
	Bytes int64         `json:"bytes"`
	Took  time.Duration `json:"took"`
}

// Carry runs Transfer.
func Carry(o Transfer) (Transferred, error) {
	client, err := o.Door.enter()
	if err != nil {
		return Transferred{}, err
	}
	defer client.Close()
	ways := map[string]func(Transfer, *ssh.Client) (Transferred, error){
		SFTPGet: Transfer.sftp, SFTPPut: Transfer.sftp, ForwardGet: Transfer.forward, ForwardPut: Transfer.forward, CommandText: Transfer.text, ShellText: Transfer.text,
	}
	way := ways[o.What]
	if way == nil {
		return Transferred{}, fmt.Errorf("nobody carries %q", o.What)
	}
	done, err := way(o, client)
	if err == nil && done.Bytes < o.Size {
		err = fmt.Errorf("%d of %d bytes were carried", done.Bytes, o.Size)
	}
	return done, err
}

// sftp keeps 64 requests under way, as OpenSSH's client does. What is put goes into /dev/null there, so that no disk is measured.
func (o Transfer) sftp(over *ssh.Client) (Transferred, error) {
	client, err := sftp.NewClient(over, sftp.UseConcurrentWrites(true))
	if err != nil {
		return Transferred{}, err
	}
	defer client.Close()
	began := time.Now()
	if o.What == SFTPGet {
		f, err := client.Open(o.File)
		if err != nil {
			return Transferred{}, err
		}
		n, err := f.WriteTo(onlyWriter{io.Discard})
		return Transferred{n, time.Since(began)}, errors.Join(err, f.Close())
	}
	f, err := client.OpenFile(os.DevNull, os.O_WRONLY)
	if err != nil {
		return Transferred{}, err
	}
	n, err := f.ReadFrom(&io.LimitedReader{R: zeros{}, N: o.Size})
	return Transferred{n, time.Since(began)}, errors.Join(err, f.Close())
}

// forward has bytes given or taken behind the target.
func (o Transfer) forward(over *ssh.Client) (Transferred, error) {
	socket, err := over.Dial("tcp", o.Via)
	if err != nil {
		return Transferred{}, err
	}
	defer socket.Close()
	began := time.Now()
	if o.What == ForwardGet {
		if _, err := fmt.Fprintf(socket, "give %d\n", o.Size); err != nil {
			return Transferred{}, err
		}
		n, err := io.Copy(onlyWriter{io.Discard}, socket)
		return Transferred{n, time.Since(began)}, err
	}
	if _, err := fmt.Fprintf(socket, "take %d\n", o.Size); err != nil {
		return Transferred{}, err
	}
	n, err := io.CopyN(onlyWriter{socket}, zeros{}, o.Size)
	if err == nil {
		_, err = io.ReadFull(socket, make([]byte, len("taken\n")))
	}
	return Transferred{n, time.Since(began)}, err
}

// text reads what cat prints of the file: with a terminal, which adds to the ends of lines, or without.
func (o Transfer) text(over *ssh.Client) (Transferred, error) {
	command := "cat " + o.File
	if o.What == ShellText {
		t := &terminal{client: over}
		began := time.Now()
		if err := t.open(command); err != nil {
			return Transferred{}, err
		}
		n, err := io.Copy(onlyWriter{io.Discard}, t)
		return Transferred{n, time.Since(began)}, err
	}
	session, err := over.NewSession()
	if err != nil {
		return Transferred{}, err
	}
	defer session.Close()
	out, err := session.StdoutPipe()
	if err != nil {
		return Transferred{}, err
	}
	began := time.Now()
	if err := session.Start(command); err != nil {
		return Transferred{}, err
	}
	n, err := io.Copy(onlyWriter{io.Discard}, out)
	return Transferred{n, time.Since(began)}, err
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
