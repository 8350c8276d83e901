module mulligan.example/client

go 1.19

require (
	google.golang.org/genproto v0.0.0-20210207032614-bba0dbe2a9ea
	google.golang.org/grpc v1.33.3
	google.golang.org/protobuf v1.28.1
)
