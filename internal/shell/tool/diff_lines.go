package tool

// An edit replaces lines a1 to a2 of the one file by b1 to b2 of the other; the
// ends are not included.
type edit struct{ a1, a2, b1, b2 int }

// compareLines finds what to change in a to get b, with Myers' algorithm in
// linear space (An O(ND) Difference Algorithm and Its Variations, 1986).
func compareLines(a, b []string) []edit {
	numbers := map[string]int{}
	number := func(all []string) []int {
		ids := make([]int, len(all))
		for i, line := range all {
			id, ok := numbers[line]
			if !ok {
				id = len(numbers)
				numbers[line] = id
			}
			ids[i] = id
		}
		return ids
	}
	m := myers{a: number(a), b: number(b)}
	size := 2*(len(a)+len(b)) + 4
	m.forward, m.backward = make([]int, size), make([]int, size)
	m.removed, m.added = make([]bool, len(a)), make([]bool, len(b))
	m.compare(0, len(a), 0, len(b))
	return m.edits()
}

type myers struct {
	a, b              []int
	forward, backward []int // furthest points, by diagonal
	removed, added    []bool
}

// compare marks what differs between two parts.
func (m *myers) compare(a1, a2, b1, b2 int) {
	for a1 < a2 && b1 < b2 && m.a[a1] == m.b[b1] {
		a1, b1 = a1+1, b1+1
	}
	for a1 < a2 && b1 < b2 && m.a[a2-1] == m.b[b2-1] {
		a2, b2 = a2-1, b2-1
	}
	switch {
	case a1 == a2:
		for ; b1 < b2; b1++ {
			m.added[b1] = true
		}
	case b1 == b2:
		for ; a1 < a2; a1++ {
			m.removed[a1] = true
		}
	default:
		x, y := m.middle(a1, a2, b1, b2)
		m.compare(a1, x, b1, y)
		m.compare(x, a2, y, b2)
	}
}

// middle finds a point on a shortest path, by going from both ends.
//
//nolint:gocognit // the two loops are the paper's, and mirror each other
func (m *myers) middle(a1, a2, b1, b2 int) (x, y int) {
	n, k := a2-a1, b2-b1
	delta, half := n-k, len(m.forward)/2
	f := func(d int) *int { return &m.forward[half+d] }
	r := func(d int) *int { return &m.backward[half+d] }
	*f(1), *r(1) = 0, 0
	for d := 0; ; d++ {
		for diagonal := -d; diagonal <= d; diagonal += 2 {
			x := *f(diagonal - 1) + 1
			if diagonal == -d || diagonal != d && *f(diagonal - 1) < *f(diagonal + 1) {
				x = *f(diagonal + 1)
			}
			y := x - diagonal
			for x < n && y < k && y >= 0 && m.a[a1+x] == m.b[b1+y] {
				x, y = x+1, y+1
			}
			*f(diagonal) = x
			if opposite := delta - diagonal; delta%2 != 0 && opposite >= -(d-1) && opposite <= d-1 && x+*r(opposite) >= n {
				return m.inside(a1, b1, n, k, x, y)
			}
		}
		for diagonal := -d; diagonal <= d; diagonal += 2 {
			x := *r(diagonal - 1) + 1
			if diagonal == -d || diagonal != d && *r(diagonal - 1) < *r(diagonal + 1) {
				x = *r(diagonal + 1)
			}
			y := x - diagonal
			for x < n && y < k && y >= 0 && m.a[a2-1-x] == m.b[b2-1-y] {
				x, y = x+1, y+1
			}
			*r(diagonal) = x
			if opposite := delta - diagonal; delta%2 == 0 && opposite >= -d && opposite <= d && x+*f(opposite) >= n {
				return m.inside(a1, b1, n, k, n-x, k-y)
			}
		}
	}
}

// inside is a point within the part.
func (m *myers) inside(a1, b1, n, k, x, y int) (int, int) {
	return a1 + min(max(x, 0), n), b1 + min(max(y, 0), k)
}

// edits joins what was marked.
func (m *myers) edits() []edit {
	var all []edit
	for i, j := 0, 0; i < len(m.a) || j < len(m.b); {
		if i < len(m.a) && j < len(m.b) && !m.removed[i] && !m.added[j] {
			i, j = i+1, j+1
			continue
		}
		e := edit{a1: i, b1: j}
		for i < len(m.a) && m.removed[i] {
			i++
		}
		for j < len(m.b) && m.added[j] {
			j++
		}
		e.a2, e.b2 = i, j
		all = append(all, e)
	}
	return all
}
