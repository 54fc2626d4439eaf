// AWS SDK for JavaScript v3: S3 in every way that it sends a body, and SageMaker.
import { createReadStream, writeFileSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import {
  CreateBucketCommand, DeleteObjectsCommand, GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { createPresignedPost } from "@aws-sdk/s3-presigned-post";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import {
  CreateEndpointCommand, CreateEndpointConfigCommand, CreateModelCommand, CreateTrainingJobCommand,
  DeleteEndpointCommand, DescribeTrainingJobCommand, SageMakerClient, waitUntilEndpointInService,
  waitUntilTrainingJobCompletedOrStopped,
} from "@aws-sdk/client-sagemaker";
import {
  InvokeEndpointCommand, InvokeEndpointWithResponseStreamCommand, SageMakerRuntimeClient,
} from "@aws-sdk/client-sagemaker-runtime";

const ROLE = "arn:aws:iam::123456789012:role/clients";
const IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/clients:1";
const BUCKET = "clients-javascript";
const NAME = "Js-" + Date.now();
const byName = /is not available/;

async function step(name, action) {
  const began = Date.now();
  let result = "works", detail = "";
  try {
    await action();
  } catch (error) {
    detail = `${error.name}: ${error.message}`;
    result = byName.test(detail) ? "refused" : "failed";
    if (result === "failed") console.error(error);
  }
  console.log("STEP " + JSON.stringify({ step: name, result, detail: detail.slice(0, 400), seconds: (Date.now() - began) / 1000 }));
}

function expect(condition, what) {
  if (!condition) throw new Error("unexpected: " + JSON.stringify(what));
}

const s3 = new S3Client({ forcePathStyle: true });
const sagemaker = new SageMakerClient({});
const runtime = new SageMakerRuntimeClient({});
const file = join(mkdtempSync(join(tmpdir(), "clients-")), "a.txt");
writeFileSync(file, "hello\n");

async function body(key) {
  const found = await s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: key }));
  return Buffer.from(await found.Body.transformToByteArray());
}

async function put(key, input, wanted, client = s3) {
  await client.send(new PutObjectCommand({ Bucket: BUCKET, Key: key, ...input }));
  const found = await body(key);
  expect(found.equals(Buffer.from(wanted)), found.toString());
}

await step("CreateBucket", () =>
  s3.send(new CreateBucketCommand({ Bucket: BUCKET, CreateBucketConfiguration: { LocationConstraint: "eu-west-1" } })));
await step("PutObject of a text", () => put("text", { Body: "hello" }, "hello"));
await step("PutObject of a stream", () => put("stream", { Body: createReadStream(file), ContentLength: 6 }, "hello\n"));
await step("PutObject of a stream with SHA256", () =>
  put("sha256", { Body: createReadStream(file), ContentLength: 6, ChecksumAlgorithm: "SHA256" }, "hello\n"));
const required = new S3Client({ forcePathStyle: true, requestChecksumCalculation: "WHEN_REQUIRED" });
await step("PutObject without a checksum", () =>
  put("plain", { Body: createReadStream(file), ContentLength: 6 }, "hello\n", required));
const large = Buffer.alloc(11 * 2 ** 20, "x");
await step("Upload in parts", async () => {
  await new Upload({ client: s3, params: { Bucket: BUCKET, Key: "large", Body: Readable.from([large]) } }).done();
  expect((await body("large")).equals(large), "other bytes");
});
await step("ListObjectsV2, DeleteObjects", async () => {
  const found = await s3.send(new ListObjectsV2Command({ Bucket: BUCKET }));
  expect(found.Contents.some(each => each.Key === "text"), found.Contents);
  await s3.send(new DeleteObjectsCommand({ Bucket: BUCKET, Delete: { Objects: [{ Key: "sha256" }] } }));
});
await step("presigned GET and PUT", async () => {
  const get = await getSignedUrl(s3, new GetObjectCommand({ Bucket: BUCKET, Key: "text" }), { expiresIn: 60 });
  expect(await (await fetch(get)).text() === "hello", get);
  const url = await getSignedUrl(s3, new PutObjectCommand({ Bucket: BUCKET, Key: "put" }), { expiresIn: 60 });
  expect((await fetch(url, { method: "PUT", body: "hello" })).status === 200, url);
});
await step("presigned POST", async () => {
  const { url, fields } = await createPresignedPost(s3, { Bucket: BUCKET, Key: "posted", Expires: 60 });
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", new Blob(["hello"]), "f");
  const answer = await fetch(url, { method: "POST", body: form });
  expect(answer.status === 204, [answer.status, await answer.text()]);
  expect((await body("posted")).toString() === "hello", "other bytes");
});
await step("GetCallerIdentity", async () => {
  const found = await new STSClient({}).send(new GetCallerIdentityCommand({}));
  expect(found.Arn === "arn:aws:iam::123456789012:user/millrace", found.Arn);
});
await step("CreateTrainingJob and wait", async () => {
  await sagemaker.send(new CreateTrainingJobCommand({
    TrainingJobName: NAME, RoleArn: ROLE,
    AlgorithmSpecification: { TrainingImage: IMAGE, TrainingInputMode: "File" },
    OutputDataConfig: { S3OutputPath: `s3://${BUCKET}/out` },
    ResourceConfig: { InstanceType: "ml.m5.large", InstanceCount: 1, VolumeSizeInGB: 1 },
    StoppingCondition: { MaxRuntimeInSeconds: 60 },
  }));
  const often = { client: sagemaker, maxWaitTime: 60, minDelay: 1, maxDelay: 1 };
  await waitUntilTrainingJobCompletedOrStopped(often, { TrainingJobName: NAME });
  const found = await sagemaker.send(new DescribeTrainingJobCommand({ TrainingJobName: NAME.toLowerCase() }));
  expect(found.TrainingJobStatus === "Completed", found);
});
await step("CreateModel, CreateEndpointConfig, CreateEndpoint", async () => {
  const model = `s3://${BUCKET}/out/${NAME}/output/model.tar.gz`;
  await sagemaker.send(new CreateModelCommand({
    ModelName: NAME, ExecutionRoleArn: ROLE, PrimaryContainer: { Image: IMAGE, ModelDataUrl: model },
  }));
  const variant = { VariantName: "a", ModelName: NAME, InitialInstanceCount: 1, InstanceType: "ml.m5.large" };
  await sagemaker.send(new CreateEndpointConfigCommand({ EndpointConfigName: NAME, ProductionVariants: [variant] }));
  await sagemaker.send(new CreateEndpointCommand({ EndpointName: NAME, EndpointConfigName: NAME }));
  const often = { client: sagemaker, maxWaitTime: 60, minDelay: 1, maxDelay: 1 };
  await waitUntilEndpointInService(often, { EndpointName: NAME });
});
await step("InvokeEndpoint", async () => {
  const found = await runtime.send(new InvokeEndpointCommand({ EndpointName: NAME, Body: "x", ContentType: "text/plain" }));
  expect(Buffer.from(found.Body).toString() === "echo x", found);
});
await step("a model's error", async () => {
  try {
    await runtime.send(new InvokeEndpointCommand({ EndpointName: NAME, Body: "fail" }));
  } catch (error) {
    expect(error.name === "ModelError" && error.OriginalStatusCode === 500, error.name);
    return;
  }
  expect(false, "no error");
});
await step("InvokeEndpointWithResponseStream", () =>
  runtime.send(new InvokeEndpointWithResponseStreamCommand({ EndpointName: NAME, Body: "x" })));
await step("DeleteEndpoint", () => sagemaker.send(new DeleteEndpointCommand({ EndpointName: NAME })));
