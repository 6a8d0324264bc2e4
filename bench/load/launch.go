package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"time"

	"github.com/coder/websocket"
)

// Launches orders that links be made by the API and opened as a browser does, one after the other, in turns with plain SSH to the same target.
type Launches struct {
	URL    string `json:"url"`   // of the server
	Token  string `json:"token"` // of the API
	Body   string `json:"body"`  // of a request for a link
	Direct Door   `json:"direct"`
	Native Door   `json:"native"` // the same by one's own client, through the gate
	Lines  int    `json:"lines"`  // that the gate prints there before the shell does
	Count  int    `json:"count"`
}

// LaunchesDone is what came of Launches: the time until the first byte of the shell.
type LaunchesDone struct {
	Link   Latencies `json:"link"`   // of it: until the link is made
	Page   Latencies `json:"page"`   // until its page is there
	Prompt Latencies `json:"prompt"` // all of it
	Direct Latencies `json:"direct"` // by ssh to the target
	Native Latencies `json:"native"` // by ssh through the gate
}

const patience = 30 * time.Second

// Launch runs Launches.
func Launch(o Launches) (LaunchesDone, error) {
	var link, page, prompt, direct, native []time.Duration
	for range o.Count {
		b := &browser{Launches: o}
		if err := b.open(); err != nil {
			return LaunchesDone{}, err
		}
		link, page, prompt = append(link, b.link), append(page, b.page), append(prompt, b.prompt)
		for _, by := range []struct {
			door  Door
			lines int
			took  *[]time.Duration
		}{{o.Direct, 0, &direct}, {o.Native, o.Lines, &native}} {
			one, err := by.door.prompt(by.lines)
			if err != nil {
				return LaunchesDone{}, err
			}
			*by.took = append(*by.took, one)
		}
	}
	return LaunchesDone{latenciesOf(link), latenciesOf(page), latenciesOf(prompt), latenciesOf(direct), latenciesOf(native)}, nil
}

// prompt connects and waits for the shell's first byte, behind some lines that are not the shell's.
func (d Door) prompt(lines int) (time.Duration, error) {
	began := time.Now()
	t, err := d.terminal("")
	if err != nil {
		return 0, err
	}
	defer t.close()
	for range lines {
		if err := t.until('\n'); err != nil {
			return 0, err
		}
	}
	_, err = t.Read(make([]byte, 1))
	return time.Since(began), err
}

// browser opens one link.
type browser struct {
	Launches
	client http.Client
	jar    *cookiejar.Jar
	origin string // of the page

	link, page, prompt time.Duration // since the beginning
}

func (b *browser) open() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	if b.jar, err = cookiejar.New(nil); err != nil {
		return err
	}
	b.client = http.Client{Jar: b.jar, Timeout: patience}
	defer b.client.CloseIdleConnections()
	began := time.Now()
	at, err := b.ask(ctx)
	if err != nil {
		return fmt.Errorf("ask for a link: %w", err)
	}
	b.link = time.Since(began)
	place, err := b.follow(ctx, at)
	if err != nil {
		return fmt.Errorf("open the link: %w", err)
	}
	b.page = time.Since(began)
	socket, err := b.dial(ctx, place)
	if err != nil {
		return fmt.Errorf("open the socket: %w", err)
	}
	defer socket.CloseNow() //nolint:errcheck // it is over
	for kind := websocket.MessageText; kind != websocket.MessageBinary; {
		var said []byte
		if kind, said, err = socket.Read(ctx); err != nil {
			return fmt.Errorf("read first output: %w", err)
		}
		if bytes.Contains(said, []byte(`"type":"end"`)) {
			return fmt.Errorf("the session ended: %s", said)
		}
	}
	b.prompt = time.Since(began)
	return b.leave(ctx, socket)
}

// ask asks the API for a link.
func (b *browser) ask(ctx context.Context) (string, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, b.URL+"/api/pam/remote/session", bytes.NewReader([]byte(b.Body)))
	if err != nil {
		return "", err
	}
	q.Header.Set("Authorization", "Bearer "+b.Token)
	q.Header.Set("Content-Type", "application/json")
	var made struct {
		Session struct {
			URL string `json:"session_url"`
		}
	}
	err = b.answer(q, &made)
	return made.Session.URL, err
}

// follow opens a link and returns the address of the page that it leads to.
func (b *browser) follow(ctx context.Context, link string) (string, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return "", err
	}
	answer, err := b.client.Do(q)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusOK {
		return "", errors.New(answer.Status)
	}
	at := answer.Request.URL
	b.origin = at.Scheme + "://" + at.Host
	return b.origin + at.Path, nil
}

// dial opens the socket of the page as its script does.
func (b *browser) dial(ctx context.Context, place string) (*websocket.Conn, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, place+"/ticket", nil)
	if err != nil {
		return nil, err
	}
	q.Header.Set("Origin", b.origin)
	var given struct {
		Ticket string `json:"ticket"`
	}
	if err := b.answer(q, &given); err != nil {
		return nil, err
	}
	socket, _, err := websocket.Dial(ctx, place+"/terminal", &websocket.DialOptions{HTTPClient: &b.client, HTTPHeader: http.Header{"Origin": {b.origin}}})
	if err != nil {
		return nil, err
	}
	hello, err := json.Marshal(map[string]any{"ticket": given.Ticket, "cols": 100, "rows": 30, "from": 0})
	if err != nil {
		return nil, err
	}
	return socket, socket.Write(ctx, websocket.MessageText, hello)
}

// leave ends the shell, and waits until the page is told.
func (b *browser) leave(ctx context.Context, socket *websocket.Conn) error {
	if err := socket.Write(ctx, websocket.MessageBinary, []byte("exit\r")); err != nil {
		return err
	}
	for {
		kind, said, err := socket.Read(ctx)
		if err != nil {
			return fmt.Errorf("read the end: %w", err)
		}
		if kind == websocket.MessageText && bytes.Contains(said, []byte(`"type":"end"`)) {
			return nil
		}
	}
}

// answer sends a request and reads its answer.
func (b *browser) answer(q *http.Request, into any) error {
	answer, err := b.client.Do(q)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", answer.Status, text)
	}
	return json.Unmarshal(text, into)
}
