// Package emulator is a local Cloud Run: its Admin API (v2 over gRPC and REST, and v1 as gcloud speaks it), long-running
// operations, ingress, IAM, metadata server and an OCI registry, over containers that really run. [New] starts one;
// Google's own client libraries work against it unchanged.
//
// What the platform refuses is refused here with the same code and kind of message (package rules), a revision is ready
// when its container listens (package serving), containers run under runc, crun, runsc, Docker, Podman or in process
// (package runtime), and tokens are signed and checked (package identity).
//
// # Differences from the platform
//
// Packages serving, rules and identity list their own; docs/emulator.md has them all.
//
// Reach and transport:
//
//   - Everything is plain HTTP on loopback addresses. A service's URL is
//     http://SERVICE-PROJECTNUMBER.REGION.localhost:PORT; there is no second, hashed URL. The names always mean the
//     loopback interface (RFC 6761 §6.3); a client whose resolver does not know that must send the Host header itself.
//   - Instances have no network but their own loopback interface and the metadata server: no name server, no egress, no
//     VPC access, no Cloud SQL, no calls from one service to another.
//   - An instance finds the Admin API, over REST and with an access token only, at the address in its environment variable
//     RUN_EMULATOR_HOST, which the platform does not set: run.googleapis.com is out of its reach. A service's own variable
//     of that name stays.
//   - Nothing counts as internal traffic: a service whose ingress is not INGRESS_TRAFFIC_ALL answers 404 to everybody.
//   - Requests that come from web pages (Origin, Sec-Fetch-Site) are refused by the Admin API and the registry, those
//     under a foreign host name by the metadata server, too.
//
// Who may do what:
//
//   - Admin API requests without credentials are accepted as the owner's: whoever can connect, which every user of this
//     machine can, owns the emulator. With an access token of this emulator its account's roles count; any other token
//     is UNAUTHENTICATED.
//   - Any project exists that is named. Its default compute service account is an editor of it. The account whose tokens
//     the metadata server hands out owns the emulator's own project; Server.Grant gives more roles. There are no
//     organisations, folders, conditions or VPC Service Controls.
//   - Every service account, repository and API exists, and every API is enabled but those in Options.DisabledAPIs.
//     To act as an account takes iam.serviceAccounts.actAs on it or on the service's project.
//   - Policies of projects, service accounts, repositories and secrets can be read, set and tested as on the
//     platform. A permission that does not exist is not refused: nobody has it.
//   - The ingress answers every token that it does not accept with 403; the platform answers some of them with 401.
//   - The registry asks for no credentials. Images of other registries are pulled anonymously.
//   - IAP is stored and not enforced.
//   - Of the organisation's policies there are those in Options.Policies, for every project, and of them run.allowedIngress
//     alone is enforced.
//   - Every network, VPC connector and encryption key exists and may be used, except those in Options.Missing. Binary
//     Authorization lets every image run, except those that Faults.Unattested names.
//
// Admin API:
//
//   - v2: Services, Jobs, Executions, Tasks, WorkerPools, Revisions, Operations, Locations and the export of images.
//     No instances, builds, source uploads, no export of metadata.
//   - v1: services, revisions, jobs, executions, tasks, operations and IAM, as gcloud uses them. No routes,
//     configurations, domain mappings, worker pools and watches. Reading without a region, or with "-", sees all
//     regions; writing needs the host of a region, as in us-central1-run.googleapis.com.
//   - Annotations and fields of v1 that the emulator has no use for are refused, not ignored: build-* and regions, say.
//   - Of the APIs beside Cloud Run's (Resource Manager, IAM, Service Usage, Organization Policy, Artifact Registry,
//     Secret Manager) there is what tells whether a client can do its work, over REST, on the same address as
//     everything else.
//   - exportImage writes each image under its own last name into the destination, with the revision's or execution's
//     name for a tag; how the platform names exports is not documented.
//   - Deleted jobs and executions do not show up with show_deleted. The tokens by which a job starts an execution
//     when it is made are stored and do nothing.
//   - Fields that are newer than version 1.24 of Google's Go library (ssh_enabled, say) are unknown names over REST, and over
//     gRPC have no effect. Over REST the ephemeral disk (DISK) is an unknown value, too.
//   - Nothing is throttled and no quota is enforced. Changes take effect at once: there is no propagation delay of IAM
//     policies or URLs (Faults.FrontEnd makes one).
//   - Nothing outlives the emulator: services, operations, policies and registry content are gone when it stops.
//   - Deleted services show up with show_deleted while the emulator runs, without expire_time.
//   - An update of a service that is being deleted is FAILED_PRECONDITION, and a second deletion waits for the first; what
//     the platform does is not documented. Deleting a service ABORTs the operations that wait for it.
//   - The partial response parameter "fields" is ignored.
//   - multi_region_settings, build_config, service_mesh, GPUs and session affinity are stored and do nothing.
//   - satisfies_pzs, threat_detection_enabled and scaling_status are never set.
//
// Revisions and instances:
//
//   - An image is read when its revision is deployed, and its layers when they are first unpacked; the platform keeps a copy
//     of its own from the start.
//   - Manual scaling keeps the given number of instances; with 0 the service starts instances on request all the same.
//   - Secrets come from Options.Secret, not from Secret Manager; the service account needs its role on the secret or
//     in the project. The command has none: a service that needs one fails to deploy, as if the secret did not
//     exist.
//   - The images of a job are resolved when it is made or changed, not when it runs. At most 10 tasks of an
//     execution run at once when the job sets no parallelism.
//   - A task succeeds when its main containers, those that no other depends on, have exited with status 0, and fails
//     when any container exits with another one; what the platform does about sidecars that run on is not
//     documented.
//   - The conditions of a worker pool are a service's. An instance of one that ends is started again 10 s later.
//   - Logs are the containers' own output at Revision.log_uri, and have no Cloud Logging behind them.
//   - Which paths are reserved: /eventlog, /_ah/ and the usual debug pages of Google's servers (/healthz, /varz, ...) at the
//     root; the platform documents "some paths ending with z".
//
// Containers:
//
//   - All instances run in the runtime that the emulator was started with: execution_environment chooses no other, and only
//     sets HOME as the first generation does.
//   - Under runc and crun there is no user namespace and no virtual machine: root in a container is this machine's root, with
//     the capabilities that Docker leaves it and no seccomp filter. Images that are not trusted belong under runsc or in
//     a virtual machine.
//   - What a container writes to its own file system is on this machine's disk: it has no limit and is not counted as memory.
//   - CPU and memory are limited where this machine lets the runtime make control groups. The number of open files is not
//     held to 25000.
//   - Under Docker or Podman without root on the engine's machine, instances have the engine's bridge network, which may lead
//     outside, and no metadata server; where this machine cannot reach that network no service becomes ready.
package emulator
