"""A server below HTTP: reads whole requests, notes them, and then does with the connection what the test says."""

import socket
import ssl
import struct
import threading


class Line:
    """One connection. `behave` gets it with the request; True: the connection goes on."""

    def __init__(self, connection):
        self.connection, self.buffer = connection, b""

    def read(self):
        """(head, body) of the next request; None: the client has gone"""
        while b"\r\n\r\n" not in self.buffer:
            if not self.fill():
                return None
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n")[1:] if line.lower().startswith(b"content-length:")), 0)
        while len(self.buffer) < length:
            if not self.fill():
                return None
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return head.decode("latin-1"), body

    def fill(self):
        piece = self.connection.recv(65536)
        self.buffer += piece
        return bool(piece)

    def send(self, data):
        self.connection.sendall(data)

    def answer(self, status, body=b"{}", *headers):
        lines = [f"HTTP/1.1 {status} Text", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return True

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def until_closed(self):
        """Waits for the client to give up."""
        while self.fill():
            pass


class Wire:
    def __init__(self, behave, address="127.0.0.1", tls=None):
        self.behave, self.tls = behave, tls
        self.lock, self.requests, self.connections = threading.Lock(), [], 0
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, 0))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{f'[{address}]' if ':' in address else address}:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with self.lock:
            self.connections += 1
        try:
            line = Line(self.tls.wrap_socket(connection, server_side=True) if self.tls else connection)
            while (request := line.read()) is not None:
                with self.lock:
                    self.requests.append(request)
                if not self.behave(line, len(self.requests)):
                    break
        except (OSError, ssl.SSLError):
            pass
        finally:
            connection.close()

    def stop(self):
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
