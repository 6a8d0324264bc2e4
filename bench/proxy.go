package main

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync/atomic"
)

// proxy stands between a node and its PostgreSQL. Once cut, connections that listen for notices hear nothing more: they stay
// open, as behind a firewall that forgot them.
type proxy struct {
	url string
	cut atomic.Bool

	to string
}

// proxy starts one in front of a database.
func (r *run) proxy(database string) *proxy {
	u, err := url.Parse(database)
	r.must(err, "read the database's address")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err, "listen")
	r.Cleanup(func() { l.Close() })
	p := &proxy{to: u.Host}
	u.Host = l.Addr().String()
	p.url = u.String()
	go func() {
		for {
			node, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(node)
		}
	}()
	return p
}

func (p *proxy) serve(node net.Conn) {
	defer node.Close()
	database, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer database.Close()
	var listens atomic.Bool
	go func() {
		defer node.Close()
		_, _ = io.Copy(writer(func(b []byte) (int, error) {
			if listens.Load() && p.cut.Load() {
				return len(b), nil
			}
			return node.Write(b)
		}), database)
	}()
	_, _ = io.Copy(writer(func(b []byte) (int, error) {
		if bytes.Contains(b, []byte("LISTEN ")) {
			listens.Store(true)
		}
		return database.Write(b)
	}), node)
}

// writer is a function that is written to.
type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
