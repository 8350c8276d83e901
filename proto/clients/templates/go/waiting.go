package mulligan

import (
	"context"
	"fmt"
	"strings"
	"time"

	v1 "@MESSAGES@"
)

// WaitFor returns a machine once it rests in one of these states, which takes as long as the
// context allows. A machine that has failed is an error of the kind FailedPrecondition.
func (client *Client) WaitFor(
	ctx context.Context, machine string, states ...v1.MachineState,
) (*v1.Machine, error) {
	pause := time.Duration(figureFirstLook)
	for {
		answer, err := client.Control.GetMachine(ctx, &v1.GetMachineRequest{Machine: machine})
		if err != nil {
			return nil, err
		}
		found := answer.GetMachine()
		if found.GetOperation() == nil {
			for _, state := range states {
				if found.GetState() == state {
					return found, nil
				}
			}
			if found.GetState() == v1.MachineState_MACHINE_STATE_FAILED {
				return nil, failedMachine(found)
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			state := strings.TrimPrefix(found.GetState().String(), "MACHINE_STATE_")
			return nil, &Error{Kind: DeadlineExceeded, cause: ctx.Err(), Message: fmt.Sprintf(
				"%s is still %s; it goes on by itself", found.GetName(), strings.ToLower(state))}
		}
		if pause = pause * 13 / 10; pause > figureLastLook {
			pause = figureLastLook
		}
	}
}

func failedMachine(found *v1.Machine) error {
	verb, what := found.GetFailedOperation(), "no reason recorded"
	if verb == "" {
		verb = "do its operation"
	}
	if fault := found.GetFault(); fault != nil {
		what = fmt.Sprintf("%s (step %s)", fault.GetMessage(), fault.GetStep())
	}
	return &Error{Kind: FailedPrecondition, Message: fmt.Sprintf(
		"%s failed to %s: %s", found.GetName(), verb, what)}
}
