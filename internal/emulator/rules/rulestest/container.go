package rulestest

import (
	"fmt"
	"slices"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"
)

func containers() []Rejection {
	return []Rejection{
		{Name: "no container", Field: "service.template.containers", Edit: onTemplate(func(t tmpl) { t.Containers = nil })},
		{Name: "no image", Field: "service." + at + ".image", Edit: onContainer(func(c box) { c.Image = "" })},
		{Name: "image that is no reference", Field: "service." + at + ".image", Edit: onContainer(func(c box) { c.Image = "https://example.com/app" })},
		{Name: "1001 arguments", Field: "service." + at + ".args", Edit: onContainer(func(c box) { c.Args = slices.Repeat([]string{"x"}, 1001) })},
		{Name: "two ports", Field: "service." + at + ".ports", Edit: onContainer(func(c box) {
			c.Ports = []*runpb.ContainerPort{{ContainerPort: 8080}, {ContainerPort: 8081}}
		})},
		{Name: "port 65536", Field: "service." + at + ".ports[0].container_port", Edit: onContainer(func(c box) {
			c.Ports = []*runpb.ContainerPort{{ContainerPort: 65536}}
		})},
		{Name: "port of an unknown protocol", Field: "service." + at + ".ports[0].name", Edit: onContainer(func(c box) {
			c.Ports = []*runpb.ContainerPort{{Name: "http2", ContainerPort: 8080}}
		})},
		{Name: "container name in upper case", Field: at + ".name", Edit: onContainer(func(c box) { c.Name = "App" })},
	}
}

func variable(name, value string) *runpb.EnvVar {
	return &runpb.EnvVar{Name: name, Values: &runpb.EnvVar_Value{Value: value}}
}

func environments() []Rejection {
	env := func(name, field string, vars ...*runpb.EnvVar) Rejection {
		return Rejection{Name: name, Field: field, Edit: onContainer(func(c box) { c.Env = vars })}
	}
	many := make([]*runpb.EnvVar, 1001)
	for i := range many {
		many[i] = variable(fmt.Sprintf("V%d", i), "")
	}
	all := []Rejection{
		env("variable's name of 32769 characters", "service."+at+".env[0].name", variable(strings.Repeat("n", 32769), "")),
		env("variable's value of 32769 bytes", "service."+at+".env[0].value", variable("n", strings.Repeat("v", 32769))),
		env("variable without a name", "service."+at+".env[0].name", variable("", "x")),
		env("variable of no secret", "service."+at+".env[0].value_source.secret_key_ref.secret", &runpb.EnvVar{
			Name: "n", Values: &runpb.EnvVar_ValueSource{ValueSource: &runpb.EnvVarSource{}},
		}),
		env("1001 variables", "service."+at+".env", many...),
	}
	for _, name := range []string{"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"} {
		all = append(all, env("reserved variable "+name, at+".env", variable(name, "1")))
	}
	return all
}

// sidecar gives a service a second container, which can be waited for, and the first a port and a name.
func sidecar(t tmpl, c box) box {
	c.Name, c.Ports = "app", []*runpb.ContainerPort{{ContainerPort: 8080}}
	side := &runpb.Container{Name: "side", Image: c.GetImage(), StartupProbe: tcp(9000)}
	t.Containers = append(t.Containers, side)
	return side
}

func several() []Rejection {
	two := func(name, field string, f func(app, side box)) Rejection {
		return Rejection{Name: name, Field: field, Edit: func(_ svc, t tmpl, c box) { f(c, sidecar(t, c)) }}
	}
	const depends = at + ".depends_on"
	return []Rejection{
		{Name: "eleven containers", Field: "service.template.containers", Edit: func(_ svc, t tmpl, c box) {
			for len(t.Containers) < 11 {
				sidecar(t, c).Name = ""
			}
		}},
		two("no container with a port", "template.containers", func(app, _ box) { app.Ports = nil }),
		two("two containers with a port", "template.containers", func(_, side box) { side.Ports = []*runpb.ContainerPort{{ContainerPort: 9000}} }),
		two("no number of the port", at+".ports[0].container_port", func(app, _ box) { app.Ports[0].ContainerPort = 0 }),
		two("two containers of one name", "template.containers[1].name", func(_, side box) { side.Name = "app" }),
		two("reserved variable PORT beside a sidecar", at+".env", func(app, _ box) { app.Env = []*runpb.EnvVar{variable("PORT", "1")} }),
		two("reserved variable in a sidecar", "template.containers[1].env", func(_, side box) { side.Env = []*runpb.EnvVar{variable("K_SERVICE", "x")} }),
		two("dependency on nobody", depends, func(app, _ box) { app.DependsOn = []string{"redis"} }),
		two("dependency on itself", depends, func(app, _ box) { app.StartupProbe, app.DependsOn = tcp(8080), []string{"app"} }),
		two("dependency without a startup probe", depends, func(app, side box) {
			app.DependsOn, side.StartupProbe = []string{"side"}, nil
		}),
		two("dependencies in a circle", "template.containers", func(app, side box) {
			app.StartupProbe, app.DependsOn, side.DependsOn = tcp(8080), []string{"side"}, []string{"app"}
		}),
	}
}
