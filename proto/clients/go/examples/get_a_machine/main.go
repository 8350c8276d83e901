// Claim a machine for an hour, boot an image on it, and give it back: get_a_machine IMAGE
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	mulligan "mulligan.example/client"
	v1 "mulligan.example/client/mulliganv1"
)

func run(ctx context.Context, image string) error {
	client, err := mulligan.FromEnvironment()
	if err != nil {
		return err
	}
	defer client.Close()
	claim, err := client.Resource.MakeClaim(ctx, &v1.MakeClaimRequest{Request: &v1.ResourceRequest{
		Groups: []*v1.RequestGroup{{Resources: map[string]int64{"machine": 1}}},
		Window: &v1.Span{Duration: durationpb.New(time.Hour)},
	}})
	if err != nil {
		return err
	}
	begun, err := client.Control.DeployMachine(ctx, &v1.DeployMachineRequest{
		Claim: claim.GetClaim().GetUuid(), Image: image,
	})
	if err != nil {
		return err
	}
	machine, err := client.WaitFor(ctx, begun.GetMachine().GetUuid(), v1.MachineState_MACHINE_STATE_ACTIVE)
	if err != nil {
		return err
	}
	fmt.Printf("%s runs %s\n", machine.GetName(), image)
	_, err = client.Control.ReleaseMachine(ctx, &v1.MachineRequest{Machine: machine.GetUuid()})
	return err
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := run(ctx, os.Args[1]); err != nil {
		log.Fatal(err)
	}
}
