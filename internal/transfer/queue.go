package transfer

import (
	"context"
	"sync"
)

const (
	// workers is how many files or directories are dealt with at once. Over a
	// network most of them wait for an answer. Each has two files open at most:
	// servers have limits, ours at least 128.
	workers = 48
	// manyFiles is how many known files make listing more directories less
	// urgent than copying.
	manyFiles = 100_000
)

// queue holds what is to be done. Directories come first, so that soon all is
// known of, then files; what was found last comes first, so that it stays short.
type queue struct {
	mu    sync.Mutex
	ready *sync.Cond
	dirs  []func(context.Context)
	files []func(context.Context)
	open  int // tasks that are waiting or running
}

func newQueue() *queue {
	q := &queue{}
	q.ready = sync.NewCond(&q.mu)
	return q
}

func (q *queue) addDir(task func(context.Context)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dirs = append(q.dirs, task)
	q.open++
	q.ready.Signal()
}

// addFiles adds files such that the first of them is the first to be copied.
func (q *queue) addFiles(tasks []func(context.Context)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := len(tasks) - 1; i >= 0; i-- {
		q.files = append(q.files, tasks[i])
	}
	q.open += len(tasks)
	q.ready.Broadcast()
}

// next waits for a task; nil when all are done.
func (q *queue) next() func(context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		switch {
		case len(q.dirs) > 0 && len(q.files) < manyFiles:
			return pop(&q.dirs)
		case len(q.files) > 0:
			return pop(&q.files)
		case len(q.dirs) > 0:
			return pop(&q.dirs)
		case q.open == 0:
			return nil
		}
		q.ready.Wait()
	}
}

func pop(tasks *[]func(context.Context)) func(context.Context) {
	last := len(*tasks) - 1
	task := (*tasks)[last]
	(*tasks)[last] = nil
	*tasks = (*tasks)[:last]
	return task
}

func (q *queue) done() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open--
	if q.open == 0 {
		q.ready.Broadcast()
	}
}

// work does all that is queued, and what comes of it. When ctx ends the tasks
// end early, but each of them is still called.
func (c *copier) work(ctx context.Context) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for task := c.queue.next(); task != nil; task = c.queue.next() {
				task(ctx)
				c.queue.done()
			}
		})
	}
	wg.Wait()
}
