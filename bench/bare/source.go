package bare

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
)

// ServeBytes is what a forward leads to: it reads a line "give N" or "take N", and gives so many bytes, or takes them and answers with a line. It prints
// its address in a line of its own and stays until the process is ended.
func ServeBytes() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, l.Addr()); err != nil {
		return err
	}
	for {
		socket, err := l.Accept()
		if err != nil {
			return err
		}
		go giveOrTake(socket)
	}
}

func giveOrTake(socket net.Conn) {
	defer socket.Close()
	reader := bufio.NewReaderSize(socket, 256<<10)
	var way string
	var size int64
	if _, err := fmt.Fscanf(reader, "%s %d\n", &way, &size); err != nil {
		return
	}
	if way == "give" {
		piece := make([]byte, 256<<10)
		for size > 0 {
			n, err := socket.Write(piece[:min(size, int64(len(piece)))])
			if err != nil {
				return
			}
			size -= int64(n)
		}
		return
	}
	if _, err := io.CopyN(io.Discard, reader, size); err == nil {
		_, _ = io.WriteString(socket, "taken\n")
	}
}
