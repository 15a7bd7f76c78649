package ui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/bubbles/help"
	"github.com/charmbracelet/bubbles/list"
	"github.com/charmbracelet/bubbles/paginator"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
)

// Item is one line of a picker.
type Item[T any] struct {
	Value  T
	Title  string // the filter looks at it
	Detail string // and at this, which stands beside it
}

// Pick lets the person choose one of items: arrows move, typing filters,
// Enter chooses; Esc and Ctrl-C return ErrCancelled.
func Pick[T any](ctx context.Context, u *UI, title string, items []Item[T]) (T, error) {
	var none T
	entries := make([]entry, len(items))
	for i, it := range items {
		entries[i] = entry{index: i, title: line(it.Title), detail: line(it.Detail)}
	}
	i, err := u.pick(ctx, title, entries)
	if err != nil {
		return none, err
	}
	return items[i].Value, nil
}

// entry is an Item without its type, as bubbles/list wants it.
type entry struct {
	index         int
	title, detail string
}

// FilterValue is what the filter looks at.
func (e entry) FilterValue() string { return e.title + " " + e.detail }

// pick returns the index of the chosen entry.
func (u *UI) pick(ctx context.Context, title string, entries []entry) (int, error) {
	switch {
	case !u.Interactive():
		return 0, errNobody
	case len(entries) == 0:
		return 0, errors.New("there is nothing to choose from")
	}
	u.Settle("")
	p := tea.NewProgram(newPickModel(u.style, line(title), entries).resized(u.size()),
		tea.WithInput(u.in), tea.WithOutput(u.out), tea.WithoutSignalHandler())
	// Not WithContext: a killed program leaves the reader of the terminal behind.
	stop := context.AfterFunc(ctx, p.Quit)
	defer stop()
	end, err := p.Run()
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("asking on the terminal: %w", err)
	}
	if m, ok := end.(pickModel); ok && m.chosen >= 0 {
		return m.chosen, nil
	}
	return 0, ErrCancelled
}

// maxRows is how many entries are shown at once.
const maxRows = 12

// pickModel is the picker as bubbletea sees it. The query is kept here, and
// given to the list whole: the list's own filter input needs another Enter,
// and filters behind the typist's back.
type pickModel struct {
	title  string
	query  string
	list   list.Model
	style  style
	rows   int // lines of the list where there is room
	chosen int // index of an entry; -1 for none
	over   bool
}

func newPickModel(st style, title string, entries []entry) pickModel {
	items := make([]list.Item, len(entries))
	widest := 0
	for i, e := range entries {
		items[i] = e
		widest = max(widest, lipgloss.Width(e.title))
	}
	height := min(len(items), maxRows) + 1
	l := list.New(items, rows{st, widest}, 80, height)
	l.SetShowTitle(false)
	l.SetShowFilter(false)
	l.SetShowStatusBar(false)
	l.SetShowHelp(false)
	l.SetShowPagination(len(items) > maxRows)
	l.DisableQuitKeybindings()
	// The default styles depend on the terminal's background: see noquery.
	l.Styles, l.Help.Styles = list.Styles{}, help.Styles{}
	l.Paginator.Type = paginator.Arabic
	return pickModel{title: title, list: l, style: st, rows: height, chosen: -1}
}

func (m pickModel) Init() tea.Cmd { return nil }

func (m pickModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		return m.resized(msg.Width, msg.Height), nil
	case tea.KeyMsg:
		return m.key(msg)
	}
	return m, nil
}

func (m pickModel) resized(cols, rows int) pickModel {
	if cols > 0 && rows > 0 { // a terminal of no size does not know it
		const around = 3 // title, help, and the line the cursor is left on
		m.list.SetSize(cols, max(1, min(m.rows, rows-around)))
	}
	return m
}

func (m pickModel) key(msg tea.KeyMsg) (tea.Model, tea.Cmd) {
	switch msg.Type {
	case tea.KeyCtrlC, tea.KeyCtrlD:
		return m.end(-1)
	case tea.KeyEsc:
		if m.query == "" {
			return m.end(-1)
		}
		return m.filter(""), nil
	case tea.KeyEnter:
		if e, ok := m.list.SelectedItem().(entry); ok {
			return m.end(e.index)
		}
		return m, nil // nothing matches
	case tea.KeyBackspace:
		if r := []rune(m.query); len(r) > 0 {
			return m.filter(string(r[:len(r)-1])), nil
		}
		return m, nil
	case tea.KeyCtrlU:
		return m.filter(""), nil
	case tea.KeyRunes, tea.KeySpace:
		return m.filter(m.query + line(string(msg.Runes))), nil
	}
	var cmd tea.Cmd
	m.list, cmd = m.list.Update(msg)
	return m, cmd
}

func (m pickModel) filter(query string) pickModel {
	m.query = query
	if query == "" {
		m.list.ResetFilter()
	} else {
		m.list.SetFilterText(query)
	}
	return m
}

func (m pickModel) end(chosen int) (tea.Model, tea.Cmd) {
	m.chosen, m.over = chosen, true
	return m, tea.Quit
}

func (m pickModel) View() string {
	if m.over {
		return ""
	}
	body := strings.TrimRight(m.list.View(), " \n")
	if len(m.list.VisibleItems()) == 0 {
		body = m.style.dim("  nothing matches")
	}
	cut := m.style.renderer.NewStyle().MaxWidth(max(1, m.list.Width()))
	help := m.style.dim("  type to filter · ↑↓ to move · enter to choose · esc to leave")
	return cut.Render(m.style.bold(m.title)+" "+m.query+"▏") + "\n" + body + "\n" + cut.Render(help) + "\n"
}

// rows draws the entries.
type rows struct {
	style  style
	widest int
}

func (rows) Height() int                         { return 1 }
func (rows) Spacing() int                        { return 0 }
func (rows) Update(tea.Msg, *list.Model) tea.Cmd { return nil }

func (r rows) Render(w io.Writer, m list.Model, index int, item list.Item) {
	e, ok := item.(entry)
	if !ok {
		return
	}
	pad := strings.Repeat(" ", max(0, r.widest-lipgloss.Width(e.title)))
	text := "  " + e.title
	if index == m.Index() {
		text = r.style.good("> ") + r.style.bold(e.title)
	}
	if e.detail != "" {
		text += pad + "  " + r.style.dim(e.detail)
	}
	_, _ = fmt.Fprint(w, r.style.renderer.NewStyle().MaxWidth(max(1, m.Width())).Render(text))
}

// Confirm asks a yes/no question; Enter alone means no, and so does an end of
// the input.
func (u *UI) Confirm(ctx context.Context, question string) (bool, error) {
	if !u.Interactive() {
		return false, errNobody
	}
	u.Settle("")
	u.print(fmt.Sprintf("%s [y/N] ", line(question)))
	answered := make(chan string, 1)
	go func() { answered <- readLine(u.in) }() // outlives a cancelled question: a read cannot be interrupted
	select {
	case a := <-answered:
		switch strings.ToLower(strings.TrimSpace(a)) {
		case "y", "yes":
			return true, nil
		}
		return false, nil
	case <-ctx.Done():
		u.print("\n")
		return false, context.Cause(ctx)
	}
}

// readLine reads one line and nothing behind it.
func readLine(r io.Reader) string {
	var b strings.Builder
	for one := make([]byte, 1); b.Len() < 1<<10; {
		n, err := r.Read(one)
		if n == 1 && one[0] == '\n' {
			break
		}
		b.Write(one[:n])
		if err != nil {
			break
		}
	}
	return b.String()
}
