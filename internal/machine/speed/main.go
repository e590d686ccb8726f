// Speed prints how fast this machine is just now; or, with -scale N, what N is on
// it, as a whole number, where a part of the processors may be left to it later.
package main

import (
	"flag"
	"fmt"
	"math"

	"hupt/internal/machine"
)

func main() {
	scale := flag.Float64("scale", 0, "print only this number times the factor")
	slow := flag.Float64("slow", 0, "times one by this part of the processors, too, if it is above 0; 1 means a fifth")
	flag.Parse()
	speed := machine.Measure()
	if *scale > 0 {
		if *slow == 1 {
			*slow = 0.2
		}
		if *slow > 0 && *slow < 1 {
			*scale /= *slow
		}
		fmt.Println(math.Ceil(*scale * speed.Factor()))
		return
	}
	load, processors := machine.Load()
	fmt.Printf("%v; load average %s on %d processors\n", speed, load, processors)
}
