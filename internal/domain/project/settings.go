package project

import (
	"context"
	"time"
)

// maxCached bounds the settings that a node remembers; beyond it they are read each time.
const maxCached = 10_000

type cachedSettings struct {
	settings Settings
	until    time.Time
}

// SettingsOf returns the settings by which calls to a project are treated. It is for doors and rooms
// that have authenticated a caller of that project and shows the caller nothing, so it asks for no
// right. It answers from memory for CacheFor.
func (s *Service) SettingsOf(ctx context.Context, id string) (Settings, error) {
	now := s.Now()
	s.mu.Lock()
	known, ok := s.cached[id]
	era := s.era
	s.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.settings, nil
	}
	p, err := s.Store.ByID(ctx, id)
	if err != nil {
		return Settings{}, err
	}
	s.remember(id, cachedSettings{p.Settings, now.Add(s.CacheFor)}, era)
	return p.Settings, nil
}

// remember keeps settings unless something was forgotten since they were read.
func (s *Service) remember(id string, c cachedSettings, era uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if era != s.era || s.CacheFor <= 0 {
		return
	}
	if s.cached == nil || len(s.cached) >= maxCached {
		s.cached = make(map[string]cachedSettings)
	}
	s.cached[id] = c
}

// Forget drops what is remembered of a project: another node changed it.
func (s *Service) Forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.era++
	delete(s.cached, id)
}

// ForgetAll drops all: notices of changes may have been lost.
func (s *Service) ForgetAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.era++
	clear(s.cached)
}
