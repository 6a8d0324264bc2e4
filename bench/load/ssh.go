package load

import (
	"bufio"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// Logins orders SSH logins: connect, exchange keys, prove an ed25519 key, close.
type Logins struct {
	Address     string        `json:"address"`
	KeyExchange string        `json:"key_exchange"`
	Seed        []byte        `json:"seed"`  // of the ed25519 key
	Seeds       [][]byte      `json:"seeds"` // in place of Seed: of several keys, in turns
	Users       []string      `json:"users"` // one login each, and then it ends; or one user for all
	Parallel    int           `json:"parallel"`
	Lasting     time.Duration `json:"lasting"`
}

// LoginsDone is what came of Logins.
type LoginsDone struct {
	Done      int64         `json:"done"`
	Failed    int64         `json:"failed"`
	FirstFail string        `json:"first_fail"`
	Began     time.Time     `json:"began"`
	Took      time.Duration `json:"took"`
	Latencies Latencies     `json:"latencies"`
}

// Login runs Logins.
func Login(o Logins) (LoginsDone, error) {
	if len(o.Seeds) == 0 {
		o.Seeds = [][]byte{o.Seed}
	}
	configs := make([]ssh.ClientConfig, len(o.Seeds))
	for i := range configs {
		var err error
		if configs[i], err = clientConfig(o.Seeds[i], o.KeyExchange); err != nil {
			return LoginsDone{}, err
		}
	}
	var (
		next, done, failed atomic.Int64
		first              atomic.Value
		workers            sync.WaitGroup
		took               = make([][]time.Duration, o.Parallel)
	)
	began := time.Now()
	for worker := range o.Parallel {
		workers.Go(func() {
			for time.Since(began) < o.Lasting {
				n := int(next.Add(1)) - 1
				if len(o.Users) > 1 && n >= len(o.Users) {
					return
				}
				start := time.Now()
				conn, err := dial(o.Address, o.Users[n%len(o.Users)], configs[n%len(configs)])
				if err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, err.Error())
					continue
				}
				done.Add(1)
				took[worker] = append(took[worker], time.Since(start))
				conn.Close()
			}
		})
	}
	workers.Wait()
	var all []time.Duration
	for _, t := range took {
		all = append(all, t...)
	}
	text, _ := first.Load().(string)
	return LoginsDone{done.Load(), failed.Load(), text, began, time.Since(began), latenciesOf(all)}, nil
}

func clientConfig(seed []byte, keyExchange string) (ssh.ClientConfig, error) {
	if len(seed) != ed25519.SeedSize {
		return ssh.ClientConfig{}, errors.New("the seed of an ed25519 key has 32 bytes")
	}
	signer, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		return ssh.ClientConfig{}, err
	}
	return ssh.ClientConfig{
		Config:            ssh.Config{KeyExchanges: []string{keyExchange}, Ciphers: []string{ssh.CipherAES128GCM}},
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		// The server is a process that this program has just started, on this machine.
		HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error { return nil },
		Timeout:         30 * time.Second,
	}, nil
}

// dial returns when the server has accepted the key.
func dial(address, user string, config ssh.ClientConfig) (*ssh.Client, error) {
	config.User = user
	socket, err := net.DialTimeout("tcp", address, config.Timeout)
	if err != nil {
		return nil, err
	}
	_ = socket.SetDeadline(time.Now().Add(config.Timeout))
	conn, channels, requests, err := ssh.NewClientConn(socket, address, &config)
	if err != nil {
		socket.Close()
		return nil, err
	}
	_ = socket.SetDeadline(time.Time{})
	return ssh.NewClient(conn, channels, requests), nil
}

// Idle orders connections that are authenticated, have a channel with a shell open, and say nothing.
type Idle struct {
	Address     string `json:"address"`
	KeyExchange string `json:"key_exchange"`
	Seed        []byte `json:"seed"`
	User        string `json:"user"`
	Count       int    `json:"count"`
	Parallel    int    `json:"parallel"`
}

// Holding is what came of Idle.
type Holding struct {
	Open      int    `json:"open"`
	FirstFail string `json:"first_fail"`
}

// Hold opens the connections, prints how many there are in a line "open N: first failure", and holds
// them until standard input ends. It returns how many the server had kept until then.
func Hold(o Idle) (Holding, error) {
	config, err := clientConfig(o.Seed, o.KeyExchange)
	if err != nil {
		return Holding{}, err
	}
	var (
		mu      sync.Mutex
		held    []*ssh.Client
		lost    atomic.Int64
		first   string
		next    atomic.Int64
		workers sync.WaitGroup
	)
	for range o.Parallel {
		workers.Go(func() {
			for int(next.Add(1)) <= o.Count {
				client, err := openShell(o, config)
				mu.Lock()
				if err == nil {
					held = append(held, client)
					go func() { _ = client.Wait(); lost.Add(1) }()
				} else if first == "" {
					first = err.Error()
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	if _, err := fmt.Fprintf(os.Stdout, "open %d: %s\n", len(held), first); err != nil {
		return Holding{}, err
	}
	untilStdinEnds()
	return Holding{Open: len(held) - int(lost.Load()), FirstFail: first}, nil
}

func openShell(o Idle, config ssh.ClientConfig) (*ssh.Client, error) {
	client, err := dial(o.Address, o.User, config)
	if err != nil {
		return nil, err
	}
	channel, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		client.Close()
		return nil, err
	}
	go ssh.DiscardRequests(requests)
	if ok, err := channel.SendRequest("shell", true, nil); err != nil || !ok {
		client.Close()
		return nil, fmt.Errorf("shell: accepted %v, %w", ok, err)
	}
	go func() { _, _ = io.Copy(io.Discard, channel) }()
	go func() { _, _ = io.Copy(io.Discard, bufio.NewReader(channel.Stderr())) }()
	return client, nil
}
