// Package shell is the shell that cloudssh brings into images that have none:
// the syntax of POSIX and bash, an editor for the command line, jobs, and the
// everyday tools of package tool inside the same process. It needs nothing of
// the image: no /tmp, no /etc/passwd, no /bin, no writable directory.
//
// The interpreter is mvdan.cc/sh. What it lacks is put around it: jobs by
// changing the command line before it runs (see rewrite), the builtins that a
// person at a terminal expects, and tools that end when they are interrupted.
//
// Two tools have a process of their own, awk and nohup: this program again.
//
// It differs from bash in these ways: redirections know the descriptors 0, 1
// and 2 only; exec PROGRAM runs it and exits; Ctrl-Z stops a tool at its next
// input or output, and forgets what the line had changed in the shell so far;
// the numbers of jobs ($!) are job specifications (%1); at its end a shell that
// is not interactive waits for background commands that are not programs.
package shell
