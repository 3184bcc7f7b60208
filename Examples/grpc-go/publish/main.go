// Publish brings each line of its input to a topic, as fast as the topic asks for them.
//
//	usage: publish HOST:PORT TOPIC
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"google.golang.org/grpc"

	pb "sluice/sluicepb"
)

const (
	eventsPerMessage = 100
	longestLine      = 1 << 20
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: publish HOST:PORT TOPIC")
	}
	var events []*pb.Event
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		events = append(events, &pb.Event{Payload: []byte(lines.Text())})
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
	conn, err := grpc.Dial(os.Args[1], grpc.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	taken, err := publish(pb.NewBrokerClient(conn), os.Args[2], events)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(taken, "events taken")
}

// publish sends as many events as there is credit for, until none are left, and says how many of
// them the topic took.
func publish(broker pb.BrokerClient, topic string, events []*pb.Event) (taken uint64, err error) {
	call, err := broker.Publish(context.Background())
	if err != nil {
		return 0, err
	}
	available := uint64(len(events))
	open := &pb.PublishRequest_Open{Topic: topic, Available: &available}
	// Send says io.EOF when the call has ended: why is for Recv to say.
	err = call.Send(&pb.PublishRequest{Message: &pb.PublishRequest_Open_{Open: open}})
	if err != nil && err != io.EOF {
		return 0, err
	}
	if len(events) == 0 {
		call.CloseSend()
	}
	for {
		word, err := call.Recv()
		if err == io.EOF {
			return taken, nil
		}
		if err != nil {
			return taken, err
		}
		credit := int(word.GetCredit().GetEvents())
		for credit > 0 && len(events) > 0 {
			count := eventsPerMessage
			if credit < count {
				count = credit
			}
			if len(events) < count {
				count = len(events)
			}
			batch := &pb.PublishRequest_Batch{Events: events[:count]}
			err := call.Send(&pb.PublishRequest{Message: &pb.PublishRequest_Batch_{Batch: batch}})
			if err != nil && err != io.EOF {
				return taken, err
			}
			credit -= count
			events = events[count:]
			if len(events) == 0 {
				// Nothing more comes: once all is confirmed, the call ends.
				call.CloseSend()
			}
		}
		if confirm := word.GetConfirm(); confirm.GetCode() == "" {
			taken += confirm.GetCount()
		}
	}
}
