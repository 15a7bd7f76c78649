// Package serving is everything between "a revision exists" and "a request reaches a container": it pulls images,
// starts instances, probes them, admits requests to them, scales, shuts down and keeps the logs, as Cloud Run does.
// It hides what an instance is; its callers know revisions and HTTP handlers. [Fleet] is the entry point.
//
// # Differences from the platform
//
// What Cloud Run does and this package does otherwise:
//
//   - CPU is never throttled: cpu_idle changes nothing. startup_cpu_boost lifts the limit of a container under runc, crun
//     and runsc only.
//   - The only limit on instances is max_instance_count (100 when unset); it is never exceeded. An instance is added
//     when requests wait and those that are starting would not take them: there is no CPU or concurrency target.
//   - Session affinity is best effort on the platform and absent here.
//   - Readiness probes are ignored. A failed liveness probe ends the instance, as on the platform; the next request
//     starts another one.
//   - An instance ends when any of its containers exits, sidecars included. At the memory limit the kernel kills the
//     process that takes most: only when that is a container's main process does the instance end.
//   - An instance without requests is kept for the whole of its 15 minutes; on the platform it may go at any time.
//   - A memory volume is a tmpfs, writable by every user and full at its size_limit, whose pages count against the
//     container that wrote them when the runtime accounts for that. Under Docker and Podman it cannot be mounted by
//     sub_path. A DISK volume is a directory of this machine: size_limit is not enforced.
//   - A Cloud Storage bucket is an empty directory at first, as is an NFS export: one for all instances of this
//     emulator that name the same bucket or export, gone when the Fleet closes. mount_options are ignored.
//   - A Cloud SQL volume is an empty directory without sockets.
//   - A secret volume holds the values of the moment the instance starts: "latest" is not read anew.
//   - X-Forwarded-Proto is "https", as on the platform, although the emulator's ingress speaks plain HTTP.
//   - Requests and responses over HTTP/1 are limited to 32 MiB as on the platform; the limit on a response holds only
//     when it has a Content-Length.
//
// What Cloud Run does not document, and this package decides: a container of a service that exits, with status 0 too and
// be it a sidecar that others depend on, ends the instance, and while the instance starts fails the revision; so does a
// container that others depend on and that fails its startup probe. Memory volumes can be executed from, as a product that
// is in use relies on. The request timeout starts when an instance takes the
// request, not while it waits for one. When a service is deleted its instances get SIGTERM and 10 s; connections that are
// still open then, WebSockets included, are cut with the instance.
package serving
