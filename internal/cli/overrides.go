package cli

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// overrideOptions are what a twin has otherwise than its target, by gcloud's
// names and in gcloud's forms.
type overrideOptions struct {
	setEnv, updateEnv, removeEnv    []string
	clearEnv                        bool
	setSecrets                      []string
	command, args                   []string
	cpu, memory, serviceAccount     string
	executionEnvironment, vpcEgress string
	timeout                         string
}

func (o *overrideOptions) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.setEnv, "set-env-vars", nil, "KEY=VALUE[,KEY=VALUE...], the only variables of the twin, as with gcloud; ^:^ first changes the comma to a colon")
	f.StringArrayVar(&o.updateEnv, "update-env-vars", nil, "KEY=VALUE[,KEY=VALUE...] to set beside the service's own variables")
	f.StringArrayVar(&o.removeEnv, "remove-env-vars", nil, "KEY[,KEY...], variables that the twin does not get")
	f.BoolVar(&o.clearEnv, "clear-env-vars", false, "no variables of the service's")
	f.StringArrayVar(&o.setSecrets, "set-secrets", nil, "KEY=SECRET:VERSION or /PATH=SECRET:VERSION[,...], versions of secrets as variables or as files")
	f.StringArrayVar(&o.command, "command", nil, "WORD[,WORD...], what cloudssh-app starts instead of the entrypoint")
	f.StringArrayVar(&o.args, "args", nil, "WORD[,WORD...], the arguments it gets instead of its own")
	f.StringVar(&o.cpu, "cpu", "", "CPU of the twin (default: the service's, at least 1)")
	f.StringVar(&o.memory, "memory", "", "memory of the twin (default: the service's)")
	f.StringVar(&o.serviceAccount, "service-account", "", "runtime service account of the twin (default: the service's)")
	f.StringVar(&o.executionEnvironment, "execution-environment", "", "gen1 or gen2 (default: the service's)")
	f.StringVar(&o.vpcEgress, "vpc-egress", "", "all-traffic or private-ranges-only (default: the service's)")
	f.StringVar(&o.timeout, "timeout", "", "time after which Cloud Run cuts a connection, such as 5m or 3600; the session goes on over the next (default: 1h)")
	complete(cmd, "execution-environment", "gen1", "gen2")
	complete(cmd, "vpc-egress", "all-traffic", "private-ranges-only")
}

// overrides reads the flags.
func (o *overrideOptions) overrides() (provision.Overrides, error) {
	p := provision.Overrides{
		ClearEnv: o.clearEnv || len(o.setEnv) > 0, CPU: o.cpu, Memory: o.memory, ServiceAccount: o.serviceAccount,
		ExecutionEnvironment: o.executionEnvironment, VPCEgress: o.vpcEgress,
	}
	if len(o.setEnv) > 0 && (len(o.updateEnv) > 0 || len(o.removeEnv) > 0 || o.clearEnv) {
		return p, usagef("--set-env-vars replaces all variables: --update-env-vars, --remove-env-vars and --clear-env-vars do not go with it")
	}
	var err error
	if p.SetEnv, err = parseDict("--set-env-vars", o.setEnv); err != nil {
		return p, err
	}
	update, err := parseDict("--update-env-vars", o.updateEnv)
	if err != nil {
		return p, err
	}
	for k, v := range update {
		p.SetEnv[k] = v
	}
	if p.RemoveEnv, err = parseList("--remove-env-vars", o.removeEnv); err != nil {
		return p, err
	}
	if p.Command, err = parseList("--command", o.command); err != nil {
		return p, err
	}
	if p.Args, err = parseList("--args", o.args); err != nil {
		return p, err
	}
	if p.Secrets, err = parseSecrets(o.setSecrets); err != nil {
		return p, err
	}
	p.Timeout, err = parseTimeout(o.timeout)
	return p, err
}

// delimited splits a value of gcloud's list and dictionary flags: at commas, or
// at D where ^D^ stands in front (`gcloud topic escaping`).
func delimited(flag, value string) ([]string, error) {
	delimiter := ","
	if rest, ok := strings.CutPrefix(value, "^"); ok {
		d, list, ok := strings.Cut(rest, "^")
		if !ok || d == "" {
			return nil, usagef("%s %q: no closing ^ after the delimiter", flag, value)
		}
		delimiter, value = d, list
	}
	return strings.Split(value, delimiter), nil
}

// parseDict reads K=V,K2=V2.
func parseDict(flag string, values []string) (map[string]string, error) {
	dict := map[string]string{}
	for _, value := range values {
		pairs, err := delimited(flag, value)
		if err != nil {
			return nil, err
		}
		for _, pair := range pairs {
			k, v, ok := strings.Cut(pair, "=")
			if !ok || k == "" {
				return nil, usagef("%s %q: want KEY=VALUE", flag, pair)
			}
			dict[k] = v
		}
	}
	return dict, nil
}

// parseList reads A,B. A flag that was given and is empty is an empty list,
// which is another thing than none.
func parseList(flag string, values []string) ([]string, error) {
	var list []string
	for _, value := range values {
		if list == nil {
			list = []string{}
		}
		if value == "" {
			continue
		}
		words, err := delimited(flag, value)
		if err != nil {
			return nil, err
		}
		list = append(list, words...)
	}
	return list, nil
}

// parseSecrets reads KEY=SECRET:VERSION, as gcloud does; a version that is not
// named is the latest.
func parseSecrets(values []string) (map[string]provision.SecretRef, error) {
	dict, err := parseDict("--set-secrets", values)
	if err != nil || len(dict) == 0 {
		return nil, err
	}
	secrets := map[string]provision.SecretRef{}
	for k, v := range dict {
		name, version, _ := strings.Cut(v, ":")
		if name == "" {
			return nil, usagef("--set-secrets %s=%s: want %[1]s=SECRET:VERSION", k, v)
		}
		secrets[k] = provision.SecretRef{Secret: name, Version: version}
	}
	return secrets, nil
}

// parseTimeout reads seconds, or a duration with its unit, as gcloud does.
func parseTimeout(value string) (time.Duration, error) {
	if value == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(value)
	if seconds, serr := strconv.Atoi(value); serr == nil {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || d < time.Second || d > time.Hour {
		return 0, usagef("--timeout is from 1 to 3600 seconds, as 300 or 5m, not %q", value)
	}
	return d, nil
}
