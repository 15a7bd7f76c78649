package serving

import (
	"errors"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
)

// A task in real containers, with a volume that they share and an order.
func TestRunTaskOverRunc(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, ofTask(func(r *runpb.RevisionTemplate) {
		r.Volumes = []*runpb.Volume{{Name: "shared", VolumeType: &runpb.Volume_EmptyDir{EmptyDir: &runpb.EmptyDirVolumeSource{
			Medium: runpb.EmptyDirVolumeSource_MEMORY, SizeLimit: "16Mi",
		}}}}
		mount := []*runpb.VolumeMount{{Name: "shared", MountPath: "/shared"}}
		main := r.GetContainers()[0]
		main.Name, main.VolumeMounts, main.DependsOn = "main", mount, []string{"writer"}
		r.Containers = append(r.Containers, &runpb.Container{
			Name: "writer", Image: "app", VolumeMounts: mount, Command: []string{"/bin/busybox"},
			Args: []string{"sh", "-c", "echo hello >/shared/file; exec /bin/busybox httpd -f -p 9000"},
			StartupProbe: &runpb.Probe{PeriodSeconds: 1, TimeoutSeconds: 1, FailureThreshold: patience, ProbeType: &runpb.Probe_TcpSocket{
				TcpSocket: &runpb.TCPSocketAction{Port: 9000},
			}},
		})
	}), overRunc(`read word </shared/file; echo "$word from $CLOUD_RUN_JOB, port=$PORT, service=$K_SERVICE"; exit 5`))
	var exit *ExitError
	if err := f.fleet.Run(t.Context(), f.rev, func() {}); !errors.As(err, &exit) || exit.Container != "main" || exit.Exit.Code != 5 {
		t.Errorf("error %v\n%s", err, f.logs())
	}
	f.wantLog("main stdout: hello from hello, port=, service=")
}
