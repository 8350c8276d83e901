"""The gRPC interface: the ``.proto`` files of ``mulligan.v1`` and what is generated from them.

``proto/_generated`` is written by ``generate`` and by nothing else. Only the edges import this
package (the services, the client and the command line); nothing that decides or folds does.
"""

assert __name__ == "mulligan.proto", "import it as mulligan.proto"
