// AWS SDK for Go v2: S3, STS and SageMaker.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	runtime "github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	runtimetypes "github.com/aws/aws-sdk-go-v2/service/sagemakerruntime/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const (
	role   = "arn:aws:iam::123456789012:role/clients"
	image  = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/clients:1"
	bucket = "clients-go"
)

func step(name string, action func() error) {
	began, result, detail := time.Now(), "works", ""
	if err := action(); err != nil {
		result, detail = "failed", err.Error()
		if strings.Contains(detail, "is not available") {
			result = "refused"
		}
	}
	line, _ := json.Marshal(map[string]any{
		"step": name, "result": result, "detail": detail, "seconds": time.Since(began).Seconds(),
	})
	fmt.Println("STEP " + string(line))
}

func expect(condition bool, what any) error {
	if condition {
		return nil
	}
	return fmt.Errorf("unexpected: %v", what)
}

// unseekable hides that a reader can be read twice.
type unseekable struct{ io.Reader }

func main() {
	ctx := context.Background()
	settings, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		panic(err)
	}
	client := s3.NewFromConfig(settings, func(o *s3.Options) { o.UsePathStyle = true })

	get := func(key string) ([]byte, error) {
		found, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &key})
		if err != nil {
			return nil, err
		}
		defer found.Body.Close()
		return io.ReadAll(found.Body)
	}
	fetch := func(method string, url string, header http.Header, body io.Reader) (int, string, error) {
		request, err := http.NewRequest(method, url, body)
		if err != nil {
			return 0, "", err
		}
		for name, values := range header {
			request.Header[name] = values
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0, "", err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		return answer.StatusCode, string(text), err
	}

	step("CreateBucket", func() error {
		_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{
			Bucket: aws.String(bucket),
			CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"},
		})
		return err
	})
	for _, algorithm := range []s3types.ChecksumAlgorithm{"", "SHA256", "CRC32C", "CRC64NVME"} {
		step(strings.TrimSpace("PutObject "+string(algorithm)), func() error {
			key := "put" + string(algorithm)
			_, err := client.PutObject(ctx, &s3.PutObjectInput{
				Bucket: aws.String(bucket), Key: &key, Body: strings.NewReader("hello"), ChecksumAlgorithm: algorithm,
			})
			if err != nil {
				return err
			}
			found, err := get(key)
			if err != nil {
				return err
			}
			return expect(string(found) == "hello", found)
		})
	}
	step("Upload in parts", func() error {
		large := bytes.Repeat([]byte("x"), 12<<20)
		_, err := manager.NewUploader(client).Upload(ctx, &s3.PutObjectInput{
			Bucket: aws.String(bucket), Key: aws.String("large"), Body: unseekable{bytes.NewReader(large)},
		})
		if err != nil {
			return err
		}
		found, err := get("large")
		if err != nil {
			return err
		}
		return expect(bytes.Equal(found, large), len(found))
	})
	step("presigned GET and PUT", func() error {
		presigner := s3.NewPresignClient(client)
		url, err := presigner.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("put")})
		if err != nil {
			return err
		}
		status, text, err := fetch("GET", url.URL, nil, nil)
		if err != nil || status != 200 || text != "hello" {
			return fmt.Errorf("unexpected: %d %s %v", status, text, err)
		}
		url, err = presigner.PresignPutObject(ctx, &s3.PutObjectInput{
			Bucket: aws.String(bucket), Key: aws.String("presigned"), Body: strings.NewReader("hello"),
		})
		if err != nil {
			return err
		}
		status, text, err = fetch("PUT", url.URL, url.SignedHeader, strings.NewReader("hello"))
		if err != nil {
			return err
		}
		return expect(status == 200, text)
	})
	step("GetCallerIdentity, also presigned", func() error {
		identity := sts.NewFromConfig(settings)
		found, err := identity.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return err
		}
		if *found.Arn != "arn:aws:iam::123456789012:user/millrace" {
			return fmt.Errorf("unexpected: %s", *found.Arn)
		}
		url, err := sts.NewPresignClient(identity).PresignGetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return err
		}
		status, text, err := fetch("GET", url.URL, url.SignedHeader, nil)
		if err != nil {
			return err
		}
		return expect(status == 200 && strings.Contains(text, "user/millrace"), text)
	})

	service := sagemaker.NewFromConfig(settings)
	name := fmt.Sprint("Go-", time.Now().Unix())
	step("CreateTrainingJob and wait", func() error {
		_, err := service.CreateTrainingJob(ctx, &sagemaker.CreateTrainingJobInput{
			TrainingJobName: &name, RoleArn: aws.String(role),
			AlgorithmSpecification: &types.AlgorithmSpecification{
				TrainingImage: aws.String(image), TrainingInputMode: "File",
			},
			OutputDataConfig: &types.OutputDataConfig{S3OutputPath: aws.String("s3://" + bucket + "/out")},
			ResourceConfig: &types.ResourceConfig{
				InstanceType: "ml.m5.large", InstanceCount: aws.Int32(1), VolumeSizeInGB: aws.Int32(1),
			},
			StoppingCondition: &types.StoppingCondition{MaxRuntimeInSeconds: aws.Int32(60)},
		})
		if err != nil {
			return err
		}
		often := func(o *sagemaker.TrainingJobCompletedOrStoppedWaiterOptions) {
			o.MinDelay, o.MaxDelay = time.Second, time.Second
		}
		waiter := sagemaker.NewTrainingJobCompletedOrStoppedWaiter(service, often)
		return waiter.Wait(ctx, &sagemaker.DescribeTrainingJobInput{TrainingJobName: &name}, time.Minute)
	})
	step("CreateModel, CreateEndpointConfig, CreateEndpoint", func() error {
		model := aws.String("s3://" + bucket + "/out/" + name + "/output/model.tar.gz")
		if _, err := service.CreateModel(ctx, &sagemaker.CreateModelInput{
			ModelName: &name, ExecutionRoleArn: aws.String(role),
			PrimaryContainer: &types.ContainerDefinition{Image: aws.String(image), ModelDataUrl: model},
		}); err != nil {
			return err
		}
		if _, err := service.CreateEndpointConfig(ctx, &sagemaker.CreateEndpointConfigInput{
			EndpointConfigName: &name,
			ProductionVariants: []types.ProductionVariant{{
				VariantName: aws.String("a"), ModelName: &name, InitialInstanceCount: aws.Int32(1), InstanceType: "ml.m5.large",
			}},
		}); err != nil {
			return err
		}
		if _, err := service.CreateEndpoint(ctx, &sagemaker.CreateEndpointInput{
			EndpointName: &name, EndpointConfigName: &name,
		}); err != nil {
			return err
		}
		often := func(o *sagemaker.EndpointInServiceWaiterOptions) { o.MinDelay, o.MaxDelay = time.Second, time.Second }
		waiter := sagemaker.NewEndpointInServiceWaiter(service, often)
		return waiter.Wait(ctx, &sagemaker.DescribeEndpointInput{EndpointName: &name}, time.Minute)
	})
	invoked := runtime.NewFromConfig(settings)
	step("InvokeEndpoint", func() error {
		found, err := invoked.InvokeEndpoint(ctx, &runtime.InvokeEndpointInput{EndpointName: &name, Body: []byte("x")})
		if err != nil {
			return err
		}
		return expect(string(found.Body) == "echo x", string(found.Body))
	})
	step("a model's error", func() error {
		_, err := invoked.InvokeEndpoint(ctx, &runtime.InvokeEndpointInput{EndpointName: &name, Body: []byte("fail")})
		var wrong *runtimetypes.ModelError
		return expect(errors.As(err, &wrong), err)
	})
	step("DeleteEndpoint", func() error {
		_, err := service.DeleteEndpoint(ctx, &sagemaker.DeleteEndpointInput{EndpointName: &name})
		return err
	})
}
