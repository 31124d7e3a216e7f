"""RabbitMQ with its management API, through which messages are published and read back."""

import base64
import os
import subprocess

from harness import free_port
from services.process import Service, own_directory


class RabbitMq(Service):
    headers = {"Authorization": "Basic " + base64.b64encode(b"guest:guest").decode()}

    def __init__(self, directory):
        directory, (amqp, api, between, names) = own_directory(directory, "rabbitmq"), [free_port() for _ in range(4)]
        with open(os.path.join(directory, "rabbitmq.conf"), "w") as f:
            f.write(f"listeners.tcp.1 = 127.0.0.1:{amqp}\nmanagement.tcp.port = {api}\nmanagement.tcp.ip = 127.0.0.1\n")
        with open(os.path.join(directory, "plugins"), "w") as f:
            f.write("[rabbitmq_management].\n")
        self.url = f"http://127.0.0.1:{api}/api"
        settings = {"HOME": directory, "RABBITMQ_BASE": directory, "RABBITMQ_MNESIA_BASE": f"{directory}/mnesia", "RABBITMQ_LOG_BASE": f"{directory}/log.d",
                    "RABBITMQ_CONFIG_FILE": f"{directory}/rabbitmq.conf", "RABBITMQ_ENABLED_PLUGINS_FILE": f"{directory}/plugins", "RABBITMQ_PID_FILE": f"{directory}/pid",
                    "RABBITMQ_NODENAME": f"courier{api}@localhost", "RABBITMQ_DIST_PORT": str(between), "ERL_EPMD_PORT": str(names), "ERL_EPMD_ADDRESS": "127.0.0.1",
                    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2"}
        settings = {**os.environ, **settings}
        # The server would start a name service that outlives it. This one is ours to end.
        self.names = subprocess.Popen(["epmd", "-port", str(names), "-address", "127.0.0.1"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # The program itself: the one in sbin changes the user.
        self.start(["/usr/lib/rabbitmq/bin/rabbitmq-server"], directory, self.url + "/overview", timeout=120, env=settings)

    def queue(self, name, exchange=None):
        self.ask("PUT", f"/queues/%2F/{name}", {})
        if exchange:
            self.ask("POST", f"/bindings/%2F/e/{exchange}/q/{name}", {"routing_key": name})

    def messages(self, name):
        """Takes what is in a queue, in order: [(properties, payload as bytes)]."""
        found = self.ask("POST", f"/queues/%2F/{name}/get", {"count": 1000, "ackmode": "ack_requeue_false", "encoding": "base64"})
        return [(m["properties"], base64.b64decode(m["payload"])) for m in found]

    def stop(self):
        super().stop()
        self.names.terminate()
        self.names.wait(10)
