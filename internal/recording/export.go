package recording

import (
	"context"
	"io"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
)

// Tracks implements remote.Archive.
func (a *Archive) Tracks(ctx context.Context, session string) ([]remote.TrackInfo, error) {
	return nil, nil
}

// Export implements remote.Archive.
func (a *Archive) Export(ctx context.Context, session string, x remote.Export, to io.Writer) error {
	return nil
}

// Erase implements remote.Archive.
func (a *Archive) Erase(ctx context.Context, session string) error { return nil }
