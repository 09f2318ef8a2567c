"""Write a pickled model as MLflow has it: `mlflow_model.py PICKLE FOLDER`."""

import shutil
import sys

import joblib
import mlflow

if __name__ == "__main__":
    pickle, folder = sys.argv[1:]
    model = joblib.load(pickle)
    shutil.rmtree(folder, ignore_errors=True)
    asked = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    form = mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE  # its default knows no estimators of XGBoost
    mlflow.sklearn.save_model(model, folder, serialization_format=form, pyfunc_predict_fn=asked)
