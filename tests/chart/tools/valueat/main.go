// valueat prints what KEDA's metrics-api scaler reads: the value at a gjson path of the JSON on standard input.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/tidwall/gjson"
)

func main() {
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	value := gjson.GetBytes(body, os.Args[1])
	fmt.Println(value.Type.String(), value.Raw)
}
