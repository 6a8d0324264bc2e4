package api

import (
	"bytes"
	"context"
	"fmt"
	"image/color"

	"github.com/mojocn/base64Captcha"
)

// Size of the picture, in pixels.
const (
	pictureWidth  = 240
	pictureHeight = 80
)

// Pictures draws CAPTCHAs. Strangers ask for them, so few are drawn at a time. Make one with NewPictures.
type Pictures struct {
	hands  chan struct{}
	driver *base64Captcha.DriverString
}

// NewPictures returns Pictures of which at most so many are drawn at a time.
func NewPictures(parallel int) *Pictures {
	paper := color.RGBA{R: 250, G: 250, B: 247, A: 255}
	lines := base64Captcha.OptionShowHollowLine | base64Captcha.OptionShowSlimeLine
	fonts := []string{"ApothecaryFont.ttf", "DENNEthree-dee.ttf", "RitaSmith.ttf", "actionj.ttf", "chromohv.ttf"}
	return &Pictures{
		hands:  make(chan struct{}, parallel),
		driver: base64Captcha.NewDriverString(pictureHeight, pictureWidth, 8, lines, 0, "", &paper, nil, fonts),
	}
}

// Draw returns a PNG that shows the text, one of capital letters and digits. It waits for its turn, and reports the context's error when
// that ends first.
func (p *Pictures) Draw(ctx context.Context, text string) ([]byte, error) {
	select {
	case p.hands <- struct{}{}:
		defer func() { <-p.hands }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	item, err := p.driver.DrawCaptcha(text)
	if err != nil {
		return nil, fmt.Errorf("draw CAPTCHA: %w", err)
	}
	var out bytes.Buffer
	if _, err := item.WriteTo(&out); err != nil {
		return nil, fmt.Errorf("draw CAPTCHA: %w", err)
	}
	return out.Bytes(), nil
}
