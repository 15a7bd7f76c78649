"""A shell in a private, short-lived twin of a Cloud Run service.

gcloud loads this file from lib/surface as the command `gcloud cloudssh`. It
starts the program cloudssh with the settings that gcloud has in force, and
becomes that program where the system allows it, so that terminal, signals and
exit status are cloudssh's own.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys

from googlecloudsdk.calliope import base
from googlecloudsdk.core import exceptions
from googlecloudsdk.core import log

# gcloud consumes the gcloud-wide flags that stand before the first argument of
# cloudssh. These are said again, because cloudssh has them too.
_REPEATED = ('--format', '--quiet', '--verbosity')

# These reach cloudssh as gcloud's own environment variables. What no flag
# settles, cloudssh reads from the same environment and configuration as gcloud:
# handing over what gcloud found would be wrong when gcloud took a
# --configuration meant for the remote command as its own.
_CARRIED = {
    '--access-token-file': 'CLOUDSDK_AUTH_ACCESS_TOKEN_FILE',
    '--account': 'CLOUDSDK_CORE_ACCOUNT',
    '--billing-project': 'CLOUDSDK_BILLING_QUOTA_PROJECT',
    '--configuration': 'CLOUDSDK_ACTIVE_CONFIG_NAME',
    '--impersonate-service-account':
        'CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT',
    '--project': 'CLOUDSDK_CORE_PROJECT',
}


class NotInstalledError(exceptions.Error):
  """The program that this command starts is not on PATH."""


def _Translate(specified):
  """Returns the gcloud-wide flags of this call as cloudssh understands them.

  Args:
    specified: {str: any}, the values of what was given, by flag or argument.

  Returns:
    ([str], {str: str}), flags and environment variables.
  """
  flags, env = [], {}
  for name, value in sorted(specified.items()):
    if name in _REPEATED:
      flags.append(name if value is True else '{}={}'.format(name, value))
    elif name in _CARRIED:
      env[_CARRIED[name]] = str(value)
    elif name.startswith('--'):
      log.warning('%s has no effect on cloudssh.', name)
  return flags, env


def _Become(argv, env):
  """Runs argv in place of gcloud and ends with its exit status."""
  sys.stdout.flush()
  sys.stderr.flush()
  if os.name == 'nt':
    # There exec returns to the console at once. Ctrl-C is for the child.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(subprocess.call(argv, env=env))
  # Python ignores SIGPIPE, and what is ignored stays ignored across exec.
  signal.signal(signal.SIGPIPE, signal.SIG_DFL)
  os.execve(argv[0], argv, env)


@base.ReleaseTracks(base.ReleaseTrack.GA)
class Cloudssh(base.Command):
  """Open a shell in a private, short-lived twin of a Cloud Run service.

  {command} runs the program *cloudssh* with the project, account, region and
  impersonation that gcloud has in force. Everything from the first argument on
  is handed to it untouched; gcloud-wide flags may stand before it. The exit
  status is that of *cloudssh*: of the remote command, if one was run.

  Run `{command} help` for its own commands and flags.

  ## EXAMPLES

  To open a shell in a twin of the service hello, run:

    $ {command} hello

  To run one command there through its shell, run:

    $ {command} hello --exec 'ls /app | wc -l'

  To run one command with exactly these arguments, run:

    $ {command} hello -- printf '%s\\n' 'a b'

  To list the twins of a project, run:

    $ {command} --project=my-project list
  """

  @staticmethod
  def Args(parser):
    arguments = parser.add_argument(
        'arguments',
        nargs='*',
        metavar='ARGUMENTS',
        help='Service, command and flags of cloudssh.')
    # Not by add_argument: calliope would then want a -- before them.
    arguments.nargs = argparse.REMAINDER

  def Run(self, args):
    program = shutil.which('cloudssh')
    if program is None:
      raise NotInstalledError(
          'The program cloudssh is not on PATH. To install it, see '
          'https://github.com/cloudssh/cloudssh.')
    flags, env = _Translate(args.GetSpecifiedArgs())
    _Become([program] + flags + args.arguments, dict(os.environ, **env))
