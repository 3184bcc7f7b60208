// Subscribe prints so many events of a topic and no more.
//
//	usage: subscribe HOST:PORT TOPIC COUNT
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"

	"google.golang.org/grpc"

	pb "sluice/sluicepb"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: subscribe HOST:PORT TOPIC COUNT")
	}
	count, err := strconv.ParseUint(os.Args[3], 10, 32)
	if err != nil {
		log.Fatal(err)
	}
	conn, err := grpc.Dial(os.Args[1], grpc.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if err := subscribe(pb.NewBrokerClient(conn), os.Args[2], uint32(count)); err != nil {
		log.Fatal(err)
	}
}

// subscribe asks for count events, and prints what comes.
func subscribe(broker pb.BrokerClient, topic string, count uint32) error {
	call, err := broker.Subscribe(context.Background())
	if err != nil {
		return err
	}
	open := &pb.SubscribeRequest_Open{Topic: topic, Demand: count}
	// Send says io.EOF when the call has ended: why is for Recv to say.
	err = call.Send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Open_{Open: open}})
	if err != nil && err != io.EOF {
		return err
	}
	// Nothing more is asked for: the call ends with the last event.
	call.CloseSend()
	for {
		word, err := call.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for _, run := range word.GetBatch().GetRuns() {
			for place, event := range run.Events {
				fmt.Printf("%d %s\n", run.Offset+uint64(place), event.Payload)
			}
		}
	}
}
