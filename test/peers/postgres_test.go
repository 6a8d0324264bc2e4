package peers_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/gatehouse-project/gatehouse/test/peers"
)

func TestMain(m *testing.M) { os.Exit(peers.Main(m)) }

func TestPostgres_gives_each_test_its_own_database_and_survives_a_restart(t *testing.T) {
	t.Parallel()
	server := peers.OwnPostgres(t, "fsync=off")
	one, two := server.Database(t), server.Database(t)
	if one == two {
		t.Fatalf("two databases have one URL %s", one)
	}
	execute(t, one, "CREATE TABLE kept (n BIGINT)")
	server.Restart(t)
	execute(t, one, "INSERT INTO kept VALUES (1)")
	server.Crash(t)
	server.Start(t)
	execute(t, one, "SELECT n FROM kept")
}

func execute(t *testing.T, url, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(t.Context(), statement)
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func TestStart_keeps_what_the_peer_printed_and_ends_it(t *testing.T) {
	t.Parallel()
	peers.Require(t, "sh")
	var p *peers.Process
	t.Run("started", func(t *testing.T) {
		p = peers.Start(t, exec.CommandContext(t.Context(), "sh", "-c", "echo ready; exec sleep 600"))
		peers.Await(t, p, func() error {
			text, err := os.ReadFile(p.Output)
			if err == nil && !strings.Contains(string(text), "ready") {
				err = errors.New("silent")
			}
			return err
		})
	})
	select {
	case <-p.Done():
	default:
		t.Fatal("the peer outlives its test")
	}
}
