package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"syscall"
	"time"

	"github.com/gatehouse-project/gatehouse/bench/load"
)

// hooks is how many webhooks share the deliveries.
const hooks = 200

// payload is as large as that of the event "verified".
const payload = `{"verify_session_id":"019a4c00-11aa-7bcd-8e01-0a1b2c3d4e5f","verify_session_external_id":"login-8841",` +
	`"verify_session_connection_identifier":"7k2m9qxw4tbz0hdn","verify_session_connection_id":"019a4c00-11ab-7000-8000-000000000002",` +
	`"verify_session_key_id":"019a4c00-11ab-7000-8000-000000000001","verify_session_connection_key_id":"019a4c00-11ab-7000-8000-000000000003",` +
	`"public_key_algorithm":"ssh-ed25519","public_key_md5":"MD5:1f:0a:2b:3c:4d:5e:6f:70:81:92:a3:b4:c5:d6:e7:f8",` +
	`"public_key_sha256":"SHA256:q0cAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","public_key_ssh":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",` +
	`"public_key_pem":"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END PUBLIC KEY-----\n"}`

// drain is one database's side of the comparison.
type drain struct {
	house                    *house
	receiver                 string
	owners                   []session
	rate, user, system, cpu  series
	database                 series
	lost, twice, interrupted int64
}

func measureWebhooks(r *run) section {
	count := 20_000
	if r.quick {
		count = 3000
	}
	database := r.postgres()
	all := []*drain{r.drain(nil), r.drain(&database)}
	for round := range min(r.rounds, 2) {
		for _, d := range all {
			d.measure(r, count)
			r.say("  round %d: %-22s %5.0f deliveries/s, %s CPU each", round+1, d.house.name, d.rate.last(), micros(d.cpu.last()))
		}
	}
	for _, d := range all {
		d.kill(r, count/2)
		r.say("  %s: killed after %d of %d: %d lost, %d sent twice", d.house.name, d.interrupted, count/2, d.lost, d.twice)
	}
	s := section{Note: fmt.Sprintf("%d deliveries over %d webhooks wait when the server starts; a receiver on the same machine answers 204. "+
		"Claim, request, result and log of each delivery are durable. The rate is between the first and the last request that arrived. Then half as many, the server is ended by "+
		"SIGKILL on the way and started again; leases last 5 s.", count, hooks)}
	t := table{Head: []string{"server", "deliveries/s", "CPU each, us", "user", "system", "PostgreSQL, us", "lost over kill -9", "sent twice"}}
	for _, d := range all {
		t.add(d.house.name, d.rate.text("%.0f"), d.cpu.text("%.0f"), d.user.text("%.0f"), d.system.text("%.0f"), d.database.text("%.0f"),
			fmt.Sprint(d.lost), fmt.Sprint(d.twice))
		s.figure("webhook deliveries, "+d.house.name, d.rate.text("%.0f")+"/s", ">= 1000/s", d.rate.median() >= 1000)
		s.figure("webhook deliveries lost over kill -9, "+d.house.name, fmt.Sprintf("%d of %d (%d sent twice)", d.lost, count/2, d.twice), "none", d.lost == 0)
	}
	s.Tables = append(s.Tables, t)
	return s
}

// drain starts a server and makes the sessions whose webhooks the deliveries belong to.
func (r *run) drain(database *postgres) *drain {
	_, receiver := r.speak(r.self("load-receive"), nil)
	d := &drain{receiver: receiver}
	d.house = r.open(database, map[string]string{
		"SSHVERIFY_WEBHOOK_ALLOW": "127.0.0.1", "SSHVERIFY_WEBHOOK_TIMEOUT": "2s", "SSHVERIFY_WEBHOOK_LEASE": "5s",
	})
	d.owners, _ = d.house.sessions(hooks, fmt.Sprintf(`,"webhooks":[{"url":"http://%s/hook","events":["verified"]}]`, receiver))
	d.house.stop(syscall.SIGTERM)
	return d
}

// queue puts deliveries into the database of a server that does not run.
func (d *drain) queue(r *run, count int) {
	db := d.house.store()
	r.must(fillDeliveries(db, d.owners, payload, count), "queue deliveries")
	r.must(db.Close(), "close database")
	d.house.settle()
}

func (d *drain) received(r *run) (got load.Received) {
	answer, err := http.Get("http://" + d.receiver + "/received")
	r.must(err, "ask the receiver")
	defer answer.Body.Close()
	r.must(json.NewDecoder(answer.Body).Decode(&got), "read what was received")
	return got
}

// until waits for the receiver to have got that many more than before.
func (d *drain) until(r *run, before load.Received, more int) {
	r.await("deliveries", 2*time.Minute, func() error {
		if n := d.received(r).Unique - before.Unique; n < int64(more) {
			return fmt.Errorf("%d of %d arrived", n, more)
		}
		return nil
	})
}

// recorded waits until the server has written down that everything was delivered.
func (d *drain) recorded(r *run) {
	r.await("results recorded", time.Minute, func() error {
		if n := d.house.metric("gatehouse_webhook_queue "); n > 0 {
			return fmt.Errorf("%.0f wait", n)
		}
		return nil
	})
}

func (d *drain) measure(r *run, count int) {
	d.queue(r, count)
	r.reset(d.receiver)
	before := d.received(r)
	d.house.start()
	stopProfile := r.profileOf(d.house.server, d.house.name)
	spent := r.spent(d.house.server)
	already := d.received(r).Unique - before.Unique // between the start and the reading of the clock
	if d.house.database != nil {
		spentThere := d.house.database.spent(r)
		defer func() {
			each := d.house.database.spent(r).Since(spentThere).Per(int64(count) - already)
			d.database.add(float64(each.Sum().Microseconds()))
		}()
	}
	d.until(r, before, count)
	d.recorded(r)
	each := r.spent(d.house.server).Since(spent).Per(int64(count) - already)
	stopProfile()
	after := d.received(r)
	d.rate.add(float64(count) / after.Last.Sub(after.First).Seconds())
	d.user.add(float64(each.User.Microseconds()))
	d.system.add(float64(each.System.Microseconds()))
	d.cpu.add(float64(each.Sum().Microseconds()))
	d.house.stop(syscall.SIGTERM)
}

// reset makes the receiver forget what it got.
func (r *run) reset(receiver string) {
	answer, err := http.Post("http://"+receiver+"/reset", "", nil)
	r.must(err, "reset the receiver")
	answer.Body.Close()
}

// kill ends the server in the middle and counts what is lost and what comes twice.
func (d *drain) kill(r *run, count int) {
	d.queue(r, count)
	before := d.received(r)
	d.house.start()
	d.until(r, before, count/3)
	d.house.stop(syscall.SIGKILL)
	d.interrupted = d.received(r).Unique - before.Unique
	d.house.start()
	deadline := time.Now().Add(time.Minute)
	for d.received(r).Unique-before.Unique < int64(count) && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	d.recorded(r)
	after := d.received(r)
	d.lost = int64(count) - (after.Unique - before.Unique)
	d.twice = (after.Requests - before.Requests) - (after.Unique - before.Unique)
	d.house.stop(syscall.SIGTERM)
}
