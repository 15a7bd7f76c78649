//go:build linux || darwin

package shell

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// The interpreter knows no jobs, and numbers what runs in the background by
// itself. So command lines are changed before they run:
//
//	X &     is   __cloudssh_spawn 'X'
//	             { __cloudssh_job=$__cloudssh_last; ( X ) && __cloudssh_reap 0 || __cloudssh_reap $?; } &
//	$!      is   $__cloudssh_last
//	$0      is   $__cloudssh_name
//	${10}   is   ${@:10:1}
//
// so that everything that X runs is known to be the job's by a variable of its
// own subshell, and its end is known.
const (
	internalPrefix = "__cloudssh_"
	jobVariable    = internalPrefix + "job"
	lastVariable   = internalPrefix + "last"
	nameVariable   = internalPrefix + "name"
	spawnCommand   = internalPrefix + "spawn"
	reapCommand    = internalPrefix + "reap"
	exportCommand  = internalPrefix + "export"
)

// rewrite changes statements, and whatever is inside them, in place, and
// returns the list that is to run.
func rewrite(stmts []*syntax.Stmt) []*syntax.Stmt {
	var changed []*syntax.Stmt
	for _, st := range stmts {
		text := ""
		if st.Background {
			text = jobText(st)
		}
		syntax.Walk(st, rewriteNode)
		if st.Background || st.Disown {
			changed = append(changed, call(spawnCommand, quoted(text)))
			st = background(st)
		}
		changed = append(changed, st)
	}
	return changed
}

// rewriteNode changes the lists of statements inside a node.
func rewriteNode(node syntax.Node) bool {
	switch n := node.(type) {
	case *syntax.Block:
		n.Stmts = rewrite(n.Stmts)
	case *syntax.Subshell:
		n.Stmts = rewrite(n.Stmts)
	case *syntax.CmdSubst:
		n.Stmts = rewrite(n.Stmts)
	case *syntax.ProcSubst:
		n.Stmts = rewrite(n.Stmts)
	case *syntax.IfClause:
		n.Cond, n.Then = rewrite(n.Cond), rewrite(n.Then)
		if n.Else != nil {
			syntax.Walk(n.Else, rewriteNode)
		}
	case *syntax.WhileClause:
		n.Cond, n.Do = rewrite(n.Cond), rewrite(n.Do)
	case *syntax.ForClause:
		if n.Loop != nil {
			syntax.Walk(n.Loop, rewriteNode)
		}
		n.Do = rewrite(n.Do)
	case *syntax.CaseClause:
		syntax.Walk(n.Word, rewriteNode)
		for _, item := range n.Items {
			for _, pattern := range item.Patterns {
				syntax.Walk(pattern, rewriteNode)
			}
			item.Stmts = rewrite(item.Stmts)
		}
	default:
		rewriteLeaf(node)
		return true
	}
	return false // its parts are done
}

func rewriteLeaf(node syntax.Node) {
	switch n := node.(type) {
	case *syntax.ParamExp:
		if n.Param == nil {
			return
		}
		switch n.Param.Value {
		case "!":
			n.Param.Value, n.Short = lastVariable, false
		case "0":
			n.Param.Value, n.Short = nameVariable, false
		default:
			if v := n.Param.Value; len(v) > 1 && digits(v) && n.Slice == nil && n.Repl == nil && n.Exp == nil && !n.Length {
				n.Param.Value = "@"
				n.Slice = &syntax.Slice{Offset: lit(v), Length: lit("1")}
			}
		}
	case *syntax.Stmt:
		n.Redirs = rewriteRedirects(n.Redirs)
		if decl, ok := n.Cmd.(*syntax.DeclClause); ok && listing(decl) {
			n.Cmd = call(exportCommand, lit(decl.Variant.Value)).Cmd
		}
	}
}

// listing says whether export or readonly is to print what there is.
func listing(decl *syntax.DeclClause) bool {
	if v := decl.Variant.Value; v != "export" && v != "readonly" && v != "declare" {
		return false
	}
	switch len(decl.Args) {
	case 0:
		return true
	case 1:
		a := decl.Args[0]
		return a.Naked && a.Name == nil && a.Value != nil && a.Value.Lit() == "-p"
	}
	return false
}

// rewriteRedirects replaces what the interpreter does not have by what is the
// same to a shell without numbered descriptors above 2.
func rewriteRedirects(redirs []*syntax.Redirect) []*syntax.Redirect {
	kept := redirs[:0]
	for _, r := range redirs {
		word := ""
		if r.Word != nil {
			word = r.Word.Lit()
		}
		switch {
		case r.Op == syntax.RdrClob:
			r.Op = syntax.RdrOut
		case r.Op == syntax.DplIn && word == "0" && (r.N == nil || r.N.Value == "0"):
			continue // a descriptor that is itself
		case r.Op == syntax.DplOut && r.N == nil && word != "1" && word != "2" && word != "-" && !digits(word):
			r.Op = syntax.RdrAll // >&file
		}
		kept = append(kept, r)
	}
	return kept
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// background wraps a statement that has an &.
func background(st *syntax.Stmt) *syntax.Stmt {
	inner := *st
	inner.Background, inner.Disown = false, false
	sub := &syntax.Stmt{Cmd: &syntax.Subshell{Stmts: []*syntax.Stmt{&inner}}}
	status := word(&syntax.ParamExp{Short: true, Param: &syntax.Lit{Value: "?"}})
	reaped := &syntax.Stmt{Cmd: &syntax.BinaryCmd{
		Op: syntax.OrStmt,
		X:  &syntax.Stmt{Cmd: &syntax.BinaryCmd{Op: syntax.AndStmt, X: sub, Y: call(reapCommand, lit("0"))}},
		Y:  call(reapCommand, status),
	}}
	mine := &syntax.Stmt{Cmd: &syntax.CallExpr{Assigns: []*syntax.Assign{{
		Name:  &syntax.Lit{Value: jobVariable},
		Value: word(&syntax.ParamExp{Short: true, Param: &syntax.Lit{Value: lastVariable}}),
	}}}}
	return &syntax.Stmt{
		Position: st.Position, Semicolon: st.Semicolon, Background: true,
		Cmd: &syntax.Block{Stmts: []*syntax.Stmt{mine, reaped}},
	}
}

func call(name string, args ...*syntax.Word) *syntax.Stmt {
	return &syntax.Stmt{Cmd: &syntax.CallExpr{Args: append([]*syntax.Word{lit(name)}, args...)}}
}

func word(part syntax.WordPart) *syntax.Word { return &syntax.Word{Parts: []syntax.WordPart{part}} }

func lit(s string) *syntax.Word { return word(&syntax.Lit{Value: s}) }

func quoted(s string) *syntax.Word { return word(&syntax.SglQuoted{Value: s}) }

// jobText is a statement as one line, without its &.
func jobText(st *syntax.Stmt) string {
	plain := *st
	plain.Background, plain.Disown, plain.Comments = false, false, nil
	var text strings.Builder
	if err := syntax.NewPrinter(syntax.SingleLine(true)).Print(&text, &plain); err != nil {
		return "?"
	}
	return strings.TrimSpace(text.String())
}
