package api_test

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"sync"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/api"
)

func TestPictures(t *testing.T) {
	t.Parallel()
	t.Run("shows the text, never twice in the same way", func(t *testing.T) {
		t.Parallel()
		p := api.NewPictures(1)
		var one []byte
		for _, text := range []string{"ACDEFH", "ACDEFH", "JKMNPR", "TVWXY3", "479347"} {
			picture, err := p.Draw(t.Context(), text)
			if err != nil {
				t.Fatal(err)
			}
			drawn, err := png.Decode(bytes.NewReader(picture))
			if err != nil || drawn.Bounds().Dx() != 240 || drawn.Bounds().Dy() != 80 || len(picture) > 32<<10 {
				t.Errorf("%s: %v, %d bytes", text, err, len(picture))
			}
			if bytes.Equal(picture, one) {
				t.Error("two pictures are the same")
			}
			one = picture
		}
	})
	t.Run("has nothing to draw without a text", func(t *testing.T) {
		t.Parallel()
		if _, err := api.NewPictures(1).Draw(t.Context(), ""); err == nil {
			t.Error("a picture of nothing")
		}
	})
	t.Run("lets nobody wait who has gone", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := api.NewPictures(0).Draw(ctx, "ACDEFH"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("serves many at once", func(t *testing.T) {
		t.Parallel()
		p := api.NewPictures(2)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if _, err := p.Draw(t.Context(), "ACDEFH"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	})
}
