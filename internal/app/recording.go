package app

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-project/gatehouse/internal/config"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/recording"
	"github.com/gatehouse-project/gatehouse/internal/store"
	"github.com/gatehouse-project/gatehouse/internal/store/sqlite"
)

func (h *House) buildRecordings() {
	c, kept := h.Config.Recording, store.Recordings{DB: h.DB}
	h.Recordings = &recording.Archive{
		Spool: filepath.Join(h.Config.Data, "spool"), Store: kept, Now: h.Now, OnError: h.failed,
		Settings: recording.Settings{
			Keystrokes: c.Keystrokes, SegmentBytes: c.SegmentBytes, SegmentTime: c.SegmentTime, Sync: c.Sync, Patience: c.UploadPatience, MaxBytes: c.MaxBytes, MinFree: c.MinFree,
		},
	}
	h.Library = &remote.Library{
		Store: kept, Archive: h.Recordings, Access: h.Access, Audit: h.Audit, Now: h.Now, Retention: c.Retention, Every: c.SweepEvery, OnError: h.failed,
	}
}

// OpenRecordings opens the bucket of recordings: whoever plays or keeps them needs it.
func (h *House) OpenRecordings(ctx context.Context) error {
	h.Recordings.Signer = h.Signer
	return h.Recordings.Open(ctx, h.Config.Recording.URL, recordingsDir(h.Config))
}

// recordingsDir is where recordings lie unless a URL says otherwise.
func recordingsDir(c config.Config) string { return filepath.Join(c.Data, "recordings") }

// listenRecordings opens the bucket for a server, and takes the spool for this process alone.
func (s *Server) listenRecordings(ctx context.Context) error {
	if err := s.OpenRecordings(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Recordings.Spool, 0o700); err != nil {
		return fmt.Errorf("make spool of recordings: %w", err)
	}
	release, err := sqlite.LockDir(s.Recordings.Spool)
	if err != nil {
		return fmt.Errorf("take spool of recordings: %w; give each node a data directory of its own", err)
	}
	s.releaseSpool, s.Remote.Recordings = release, s.Recordings
	s.metrics.gauge("gatehouse_recordings_live", "Sessions that are being recorded.", s.Recordings.Living)
	failed := prometheus.NewCounter(prometheus.CounterOpts{Name: "gatehouse_recordings_failed_total", Help: "Recordings that could not go on."})
	uploaded := prometheus.NewCounter(prometheus.CounterOpts{Name: "gatehouse_recordings_uploaded_bytes_total", Help: "Bytes of closed segments that were stored."})
	synced := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "gatehouse_recordings_sync_seconds", Help: "How long one round of syncing the spool took.", Buckets: []float64{.001, .005, .02, .1, .5, 1, 2, 5},
	})
	free := prometheus.NewGauge(prometheus.GaugeOpts{Name: "gatehouse_recordings_free_bytes", Help: "What is free on the fullest disk of spool and recordings."})
	s.metrics.registry.MustRegister(failed, uploaded, synced, free)
	s.Recordings.Observe = recording.Hooks{
		Failed:   func(string) { failed.Inc() },
		Uploaded: func(bytes int64, _ time.Duration) { uploaded.Add(float64(bytes)) },
		Synced:   func(_ int, took time.Duration) { synced.Observe(took.Seconds()) },
		Free:     func(bytes int64) { free.Set(float64(bytes)) },
	}
	if err := s.Recordings.Space(); err != nil {
		s.Log.Warn("sessions cannot be recorded", slog.Any("error", err))
	}
	return nil
}

// RecordingReport is what the verification of a recording found.
type RecordingReport = recording.Report

// What a report rests on.
const (
	RecordingSigned        = recording.Signed
	RecordingIntegrityOnly = recording.IntegrityOnly
)

// VerifyRecordingAt verifies a recording in the file system without server, database and configuration: a directory, its manifest or one of its segments;
// or a track that was exported as it was signed.
func VerifyRecordingAt(ctx context.Context, path string, keys []ed25519.PublicKey) (RecordingReport, error) {
	is, err := os.Stat(path)
	if err != nil {
		return RecordingReport{}, err
	}
	if !is.IsDir() {
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), "manifest.json")); err != nil {
			return verifyExport(path, keys)
		}
		path = filepath.Dir(path)
	}
	if path, err = filepath.Abs(path); err != nil { // "." has a name, too
		return RecordingReport{}, err
	}
	bucket, err := recording.OpenDir(path)
	if err != nil {
		return RecordingReport{}, err
	}
	report, err := recording.Verify(ctx, bucket, "", recording.Verification{Keys: keys, Name: filepath.Base(path)})
	return report, errors.Join(err, bucket.Close())
}

func verifyExport(path string, keys []ed25519.PublicKey) (_ RecordingReport, err error) {
	f, err := os.Open(path)
	if err != nil {
		return RecordingReport{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return recording.VerifyExport(f, keys)
}

// RecordingSource is the recordings of an installation, opened to be verified.
type RecordingSource struct {
	Keys []ed25519.PublicKey // signing keys that the database itself names, oldest first

	audit   *AuditSource
	kept    store.Recordings
	archive *recording.Archive
}

// OpenRecordingSource opens the recordings of an installation without any key. Nothing is written.
func OpenRecordingSource(ctx context.Context, c config.Config) (*RecordingSource, error) {
	from, err := OpenAuditSource(ctx, c)
	if err != nil {
		return nil, err
	}
	s := &RecordingSource{Keys: from.Keys, audit: from, kept: store.Recordings{DB: from.db}, archive: &recording.Archive{}}
	if err := s.archive.Open(ctx, c.Recording.URL, recordingsDir(c)); err != nil {
		return nil, errors.Join(err, from.Close())
	}
	return s, nil
}

// Close gives everything back.
func (s *RecordingSource) Close() error { return errors.Join(s.archive.Close(), s.audit.Close()) }

// Verify verifies a recording by the id, number or code of its session, against the database too. What is signed or erased while it is being read is read again
// for a while.
func (s *RecordingSource) Verify(ctx context.Context, ref string, keys []ed25519.PublicKey) (report RecordingReport, err error) {
	const again, most = 200 * time.Millisecond, 25
	for range most {
		var still bool
		if report, still, err = s.verify(ctx, ref, keys); still {
			return report, err
		}
		select {
		case <-ctx.Done():
			return report, ctx.Err()
		case <-time.After(again):
		}
	}
	return report, err
}

// verify verifies it once, and says whether the outcome is final: nothing is wrong, or nothing changed meanwhile.
func (s *RecordingSource) verify(ctx context.Context, ref string, keys []ed25519.PublicKey) (report RecordingReport, final bool, err error) {
	was, pieces, err := s.known(ctx, ref)
	if err != nil {
		return report, true, err
	}
	report, err = recording.Verify(ctx, s.archive.Bucket, was.Session+"/", recording.Verification{
		Keys: keys, Pieces: pieces, Manifest: was.Manifest, Erased: !was.Deleted.IsZero(),
	})
	if err == nil && len(report.Problems) == 0 {
		return report, true, nil
	}
	is, more, changed := s.known(ctx, ref)
	if changed != nil || !bytes.Equal(is.Manifest, was.Manifest) || !is.Deleted.Equal(was.Deleted) {
		return report, false, err
	}
	return report, is.Manifest == nil || is.Settled && len(more) == len(pieces), err // one that goes on changes all the time
}

// known is what the database has of a recording.
func (s *RecordingSource) known(ctx context.Context, ref string) (remote.Recording, []remote.Piece, error) {
	r, err := s.kept.Recording(ctx, ref)
	if err != nil {
		return r, nil, err
	}
	pieces, err := s.kept.Pieces(ctx, r.Session)
	if pieces == nil {
		pieces = []remote.Piece{}
	}
	return r, pieces, err
}
