package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"

	"hupt/control"
	"hupt/supervisor"
)

type statusCmd struct {
	Target      *string `arg:"" optional:"" help:"As of restart; without it all instances are shown."`
	Connections bool    `help:"Show each connection, too."`
	JSON        bool    `name:"json" help:"Print an array with the status of each."`
	whose
}

// report is one instance in the output of --json.
type instanceReport struct {
	*supervisor.Status
	Socket string `json:"socket"`
	UID    int    `json:"uid"`
	Error  string `json:"error,omitempty"`
}

// Run shows what runs under hupt.
func (c *statusCmd) Run(std *streams) error {
	ctx := context.Background()
	target, err := targetName(c.Target)
	if err != nil {
		return err
	}
	uid, err := c.uid()
	if err != nil {
		return err
	}
	instances, err := control.Find(ctx, control.Dirs(c.RuntimeDir, uid))
	if err != nil {
		return err
	}
	var picked error // why not exactly one was picked
	if target != "" || len(instances) == 0 {
		var one *control.Instance
		if one, picked = control.Pick(instances, target, uid); picked == nil {
			instances = []control.Instance{*one}
		}
	}
	if c.Connections && picked == nil {
		for n := range instances {
			if instances[n].Err == nil {
				instances[n].Err = instances[n].RefreshConnections(ctx)
			}
		}
	}
	switch {
	case c.JSON && (picked == nil || errors.Is(picked, control.ErrNoInstance) && target == ""):
		if err := writeStatusJSON(std, instances); err != nil {
			return err
		}
	case picked == nil:
		writeStatus(std.out, instances, os.Getuid(), time.Now())
	}
	if picked != nil {
		return picked
	}
	for n := range instances {
		if instances[n].Err != nil {
			return instances[n].Err
		}
	}
	return nil
}

func writeStatusJSON(std *streams, instances []control.Instance) error {
	reports := []instanceReport{}
	for n := range instances {
		i := &instances[n]
		r := instanceReport{Status: &i.Status, Socket: i.Socket, UID: i.UID}
		if i.Err != nil {
			r.Error = i.Err.Error()
			r.Status.PID = i.PID
		}
		reports = append(reports, r)
	}
	encoder := json.NewEncoder(std.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(reports)
}
